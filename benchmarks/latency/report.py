"""The measured figures as Markdown tables, and the bars they are held against."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from benchmarks.latency.measure import Side

PAGE = Path(__file__).resolve().parents[2] / "docs" / "performance.md"
LIST_P95_MS = 60
FASTER_THAN_MLFLOW = 3  # from so many rows on
FROM_ROWS = 10_000
GROWTH = 2


@dataclass(frozen=True)
class Verdict:
    kept: bool
    sentence: str


def machine(options: argparse.Namespace) -> str:
    """Where and how this was measured."""
    return (
        f"`python benchmarks/api_latency.py {' '.join(sys.argv[1:])}`, {date.today()}, "
        f"{os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}; "
        f"{options.rounds} rounds of {options.requests} requests. p50 / p95 in milliseconds."
    )


def table(sides: list[Side]) -> list[str]:
    """One table for each system: a row for each case, a column for each size."""
    lines = []
    for system in dict.fromkeys(side.system for side in sides):
        of_it = [side for side in sides if side.system == system]
        lines += ["", f"| {system} | " + " | ".join(f"{side.size:,}" for side in of_it) + " |"]
        lines += ["| --- |" + " ---: |" * len(of_it)]
        for number, case in enumerate(of_it[0].cases):
            timings = [side.timings[number] for side in of_it]
            figures = " | ".join(f"{timing.p50:.1f} / {timing.p95:.1f}" for timing in timings)
            lines.append(f"| {case.name} | {figures} |")
    return lines


def bars(sides: list[Side]) -> list[Verdict]:
    """Was each promise kept? Those that the measured sizes and systems allow to judge."""
    theirs = {side.size: side for side in sides if side.system == "mlflow"}
    verdicts = []
    for system in dict.fromkeys(side.system for side in sides if side.system != "mlflow"):
        of_it = [side for side in sides if side.system == system]
        small, large = of_it[0], of_it[-1]
        verdicts += [_quick_enough(large), _growth(small, large), _after_a_change(small, large)]
        comparable = [side for side in of_it if side.size >= FROM_ROWS and side.size in theirs]
        verdicts += [_against(side, theirs[side.size]) for side in comparable]
    return verdicts


def _quick_enough(side: Side) -> Verdict:
    worst, name = max((t.p95, case.name) for case, t in zip(side.cases, side.timings, strict=True))
    return _verdict(
        worst <= LIST_P95_MS,
        f"{side.system}, {side.size:,} rows: the slowest p95 is {worst:.1f} ms ({name}); "
        f"the bar is {LIST_P95_MS} ms.",
    )


def _growth(small: Side, large: Side) -> Verdict:
    worst, name = max(_ratios(small, large, changed=False))
    return _verdict(
        worst <= GROWTH,
        f"{small.system}, from {small.size:,} to {large.size:,} rows: p50 grows by at most "
        f"{worst:.2f} times ({name}); the bar is {GROWTH}.",
    )


def _after_a_change(small: Side, large: Side) -> Verdict:
    """The same for the first request after a change of the table, which counts its rows anew."""
    worst, name = max(_ratios(small, large, changed=True))
    return _verdict(
        worst <= GROWTH,
        f"{small.system}, the first list after a change: p50 grows by at most {worst:.2f} times "
        f"({name}); the bar is {GROWTH}.",
    )


def _ratios(small: Side, large: Side, *, changed: bool) -> list[tuple[float, str]]:
    return [
        (after.p50 / before.p50, case.name)
        for case, before, after in zip(small.cases, small.timings, large.timings, strict=True)
        if bool(case.changed) == changed
    ]


def _against(ours: Side, theirs: Side) -> Verdict:
    """The list, the searches and the deep offset of the base models against the same of MLflow."""
    their_p50 = {case.name: t.p50 for case, t in zip(theirs.cases, theirs.timings, strict=True)}
    ratios = [
        (their_p50[case.like] / timing.p50, case.name)
        for case, timing in zip(ours.cases, ours.timings, strict=True)
        if case.like
    ]
    least, name = min(ratios)
    best, _ = max(ratios)
    return _verdict(
        least >= FASTER_THAN_MLFLOW,
        f"{ours.system}, {ours.size:,} rows: {least:.1f} ({name}) to {best:.1f} times faster than "
        f"MLflow; the bar is {FASTER_THAN_MLFLOW}.",
    )


def _verdict(kept: bool, sentence: str) -> Verdict:
    return Verdict(kept, f"- {'kept' if kept else '**missed**'}: {sentence}")


def write(benchmark: str, text: str) -> None:
    """Between the two marks of the benchmark in the page."""
    begin, end = f"<!-- {benchmark}: begin -->", f"<!-- {benchmark}: end -->"
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(begin)
    PAGE.write_text(f"{before}{begin}\n\n{text}\n\n{end}{rest.split(end)[1]}", encoding="utf-8")
