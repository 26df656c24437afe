"""The tables, in Markdown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

from benchmarks.preflight_accuracy.fit import left_out
from benchmarks.preflight_accuracy.measure import (
    Errors,
    Run,
    confusion,
    memory_error,
    rival_error,
    speed_error,
)
from benchmarks.preflight_accuracy.rivals import RIVALS
from benchmarks.preflight_accuracy.rows import TRANSFORMERS
from training.preflight.calibration import FITTED, PUBLISHED

HEAD = "| source | method | rows | median | p90 | worst |\n| --- | --- | --- | --- | --- | --- |"


def memory_table(runs: Sequence[Run]) -> str:
    """Of what each source measured, by source and method."""
    return _by_source_and_method(runs, memory_error)


def speed_table(runs: Sequence[Run]) -> str:
    """Of tokens a second, by source and method."""
    return _by_source_and_method(runs, speed_error)


def _by_source_and_method(runs: Sequence[Run], error: Callable[[Run], float | None]) -> str:
    groups: dict[tuple[str, str], list[float]] = defaultdict(list)
    for run in runs:
        value = error(run)
        if value is not None:
            groups[run.source, run.method].append(value)
            groups[run.source, "all"].append(value)
            groups["all", "all"].append(value)
    lines = [HEAD]
    for source, method in sorted(groups, key=lambda key: (key[0] == "all", key)):
        lines.append(_line(source, method, groups[source, method]))
    return "\n".join(lines)


def _line(source: str, method: str, values: list[float]) -> str:
    errors = Errors(values=tuple(values))
    return (
        f"| {source} | {method} | {errors.count} | {errors.median:.1%} | {errors.p90:.1%} | "
        f"{errors.worst:+.1%} |"
    )


def rivals_table(runs: Sequence[Run]) -> str:
    """Ours beside theirs on the same rows: one card, where the rule says anything."""
    lines = [
        "| rule | rows | its median | its p90 | our median | our p90 |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name in RIVALS:
        theirs, ours = [], []
        for run in runs:
            rival, own = rival_error(run, name), memory_error(run)
            if rival is not None and own is not None:
                theirs.append(rival)
                ours.append(own)
        their, our = Errors(values=tuple(theirs)), Errors(values=tuple(ours))
        lines.append(
            f"| {name} | {their.count} | {their.median:.0%} | {their.p90:.0%} | {our.median:.1%} | "
            f"{our.p90:.1%} |"
        )
    return "\n".join(lines)


def fit_table(runs: Sequence[Run]) -> str:
    """Whether a run is told to fit, and what happened."""
    found = confusion(runs)
    return (
        "| we say | it ran | it ran out of memory |\n| --- | --- | --- |\n"
        f"| fits | {found.fits_ran} | {found.fits_ran_out} |\n"
        f"| does not fit | {found.not_ran} | {found.not_ran_out} |\n\n"
        f"Of what we say fits, {found.false_fits:.1%} ran out of memory."
    )


def left_out_table(runs: Sequence[Run]) -> str:
    """Speed of each source with the constants fitted on the others only."""
    lines = [
        "| source left out | rows | median | p90 | worst | " + " | ".join(FITTED) + " |",
        "| --- " * (5 + len(FITTED)) + "|",
    ]
    everything: list[float] = []
    for source, (calibration, values) in sorted(left_out(runs, lambda run: run.source).items()):
        errors = Errors(values=tuple(values))
        everything += values
        numbers = " | ".join(f"{getattr(calibration, name):.2f}" for name in FITTED)
        lines.append(
            f"| {source} | {errors.count} | {errors.median:.1%} | {errors.p90:.1%} | "
            f"{errors.worst:+.0%} | {numbers} |"
        )
    errors = Errors(values=tuple(everything))
    used = " | ".join(f"{getattr(PUBLISHED, name):.2f}" for name in FITTED)
    lines.append(
        f"| all of these | {errors.count} | {errors.median:.1%} | {errors.p90:.1%} | "
        f"{errors.worst:+.0%} | in use: {used} |"
    )
    return "\n".join(lines)


def bars(memory: Sequence[Run], speed: Sequence[Run]) -> str:
    """The aims, and whether they are met."""
    known = _errors(memory_error, [run for run in memory if run.source in TRANSFORMERS])
    lines = [
        "| aim | is | met |",
        "| --- | --- | --- |",
        _bar("memory, Transformers with known settings, median at most 2 %", known.median, 0.02),
        _bar("the same, p90 at most 8 %", known.p90, 0.08),
    ]
    others = dict.fromkeys(run.source for run in memory if run.source not in TRANSFORMERS)
    for source in others:
        errors = _errors(memory_error, [run for run in memory if run.source == source])
        lines.append(_bar(f"memory, {source}, median at most 12 %", errors.median, 0.12))
    lines.append(
        _bar("false 'fits' at most 3 %", confusion([*memory, *fit_labels(speed)]).false_fits, 0.03)
    )
    lines.append(_bar("speed, median at most 12 %", _errors(speed_error, speed).median, 0.12))
    return "\n".join(lines)


def fit_labels(runs: Sequence[Run]) -> list[Run]:
    """Of the speed's rows those that say that they fitted."""
    return [run for run in runs if run.row.get("fits_in_memory")]


def _errors(error: Callable[[Run], float | None], runs: Sequence[Run]) -> Errors:
    values = [error(run) for run in runs]
    return Errors(values=tuple(value for value in values if value is not None))


def _bar(aim: str, value: float, limit: float) -> str:
    return f"| {aim} | {value:.1%} | {'yes' if value <= limit else 'no'} |"
