"""The measured figures as a Markdown table, and the bars they are held against."""

from __future__ import annotations

import argparse
import math
import os
import platform
import statistics
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from benchmarks.throughput.contenders import Outcome
from benchmarks.throughput.workload import SIZES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "performance.md"
BEGIN, END = "<!-- train_throughput: begin -->", "<!-- train_throughput: end -->"
FASTER_THAN_TRL = 1.3
FASTER_THAN_PLAIN = 1.0
SOONER_THAN_TRL = 3.0


@dataclass(frozen=True)
class Comparison:
    """``outcomes`` by contender, one for each round."""

    size: str
    method: str
    outcomes: dict[str, list[Outcome]]

    def median(self, name: str, figure: str) -> float:
        return statistics.median(float(getattr(one, figure)) for one in self.outcomes[name])

    def ratio(self, name: str, other: str, figure: str) -> float:
        """The median over the rounds: what slows one round slows both."""
        pairs = zip(self.outcomes[name], self.outcomes[other], strict=True)
        return statistics.median(float(getattr(a, figure) / getattr(b, figure)) for a, b in pairs)

    @property
    def peers(self) -> list[str]:
        return [name for name in self.outcomes if name.startswith("TRL")]


@dataclass(frozen=True)
class Verdict:
    kept: bool
    sentence: str

    def __str__(self) -> str:
        return f"- {'kept' if self.kept else '**missed**'}: {self.sentence}"


def machine(options: argparse.Namespace) -> str:
    """Where and how this was measured."""
    threads = f"{options.threads} threads on {os.cpu_count()} cores ({platform.machine()})"
    where = threads if options.device == "cpu" else "one GPU"
    return (
        f"`python benchmarks/train_throughput.py {' '.join(sys.argv[1:])}`, {date.today()}, "
        f"{where}; rows of 20 to 60 tokens, batches of {options.batch_size}, "
        f"{options.rounds} rounds. In brackets: against ours, by rounds."
    )


def table(comparisons: list[Comparison], peak_tflops: float | None) -> list[str]:
    lines = ["", "| | tokens/s | peak memory (MB) | first step after (s) |"]
    lines += ["| --- | ---: | ---: | ---: |"]
    for one in comparisons:
        lines.append(f"| **{one.size}, {one.method}** | | | |")
        for name in one.outcomes:
            cells = []
            for figure, digits in (("tokens_per_s", 0), ("memory_mb", 0), ("first_step_s", 1)):
                if math.isnan(one.median(name, figure)):
                    cells.append("")
                    continue
                cell = f"{one.median(name, figure):,.{digits}f}"
                if name != "ours":
                    cell += f" ({one.ratio(name, 'ours', figure):.2f}×)"
                if figure == "tokens_per_s" and peak_tflops:
                    cell += f", {_share_of_peak(one, name, peak_tflops):.0%} of the peak"
                cells.append(cell)
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _share_of_peak(one: Comparison, name: str, peak_tflops: float) -> float:
    """Of the products that a token needs at least, two operations for each weight and pass: one
    pass forward, one for the gradients of inputs, one for those of trained weights."""
    size = SIZES[one.size]
    head_width = size.hidden_size // size.num_attention_heads
    attention = 2 * size.hidden_size * (size.hidden_size + head_width * size.num_key_value_heads)
    layer = attention + 3 * size.hidden_size * size.intermediate_size
    weights = size.num_hidden_layers * layer + size.vocab_size * size.hidden_size
    passes = 3 if one.method == "full" else 2
    return 2 * passes * weights * one.median(name, "tokens_per_s") / (peak_tflops * 1e12)


def bars(comparisons: list[Comparison]) -> list[Verdict]:
    """Was each promise kept?"""
    verdicts = []
    for one in comparisons:
        best = max(one.peers, key=lambda name: one.median(name, "tokens_per_s"))
        least = min(one.peers, key=lambda name: one.median(name, "memory_mb"))
        what = f"{one.size}, {one.method}:"
        verdicts += [
            _at_least(
                one.ratio("ours", best, "tokens_per_s"),
                FASTER_THAN_TRL,
                f"{what} tokens per second against {best}",
            ),
            _at_least(
                one.ratio("ours", "plain loop", "tokens_per_s"),
                FASTER_THAN_PLAIN,
                f"{what} tokens per second against the plain loop",
            ),
            _at_least(
                one.ratio(least, "ours", "memory_mb"),
                1.0,
                f"{what} peak memory of {least} against ours",
            ),
            _at_least(
                one.ratio(best, "ours, standing by", "first_step_s"),
                SOONER_THAN_TRL,
                f"{what} the first step of {best} against ours standing by",
            ),
        ]
    return verdicts


def _at_least(ratio: float, bar: float, what: str) -> Verdict:
    return Verdict(ratio >= bar, f"{what}: {ratio:.2f}×; the bar is {bar:.1f}×.")


def write(text: str) -> None:
    """Between the two marks of the page."""
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.split(END)[1]}", encoding="utf-8")
