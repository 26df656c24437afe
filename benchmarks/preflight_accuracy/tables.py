"""The tables, in Markdown."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence

from benchmarks.preflight_accuracy.blind import (
    GROUPS,
    memory_left_out,
    pooled,
)
from benchmarks.preflight_accuracy.fit import LeftOut, fit
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
    """Whether a run is told to fit, and what happened. The buffer was set with the runs of one
    source in view, fms-acceleration's; the others' have had no part in it."""
    lines = [
        "| source | fits: it ran | fits: it ran out | does not fit: it ran | ... it ran out |",
        "| --- " * 5 + "|",
    ]
    for source in (*sorted({run.source for run in runs}), "all"):
        found = confusion(run for run in runs if source in (run.source, "all"))
        lines.append(
            f"| {source} | {found.fits_ran} | {found.fits_ran_out} | {found.not_ran} | "
            f"{found.not_ran_out} |"
        )
    everything = confusion(runs)
    lines.append(
        f"\nOf what we say fits, {everything.false_fits:.1%} ran out of memory; of what ran, we "
        f"would have refused {everything.false_refusals:.1%}."
    )
    return "\n".join(lines)


def blind_table(memory: Sequence[Run], speed: LeftOut, kind: str) -> str:
    """By what is left out: what would have been said of it by what the others taught."""
    of_speed = {name: Errors(values=tuple(values)) for name, (_, values) in speed.items()}
    told = memory_left_out(memory, GROUPS[kind]), of_speed
    head = " | ".join(f"{what}: rows | median | p90 | worst" for what in ("memory", "speed"))
    lines = [f"| {kind} left out | {head} |", "| --- " * 9 + "|"]
    names = sorted({*told[0], *told[1]})
    lines += [
        f"| {name} | " + " | ".join(_cells(one.get(name)) for one in told) + " |" for name in names
    ]
    lines.append("| all of these | " + " | ".join(_cells(pooled(one)) for one in told) + " |")
    return "\n".join(lines)


def _cells(errors: Errors | None) -> str:
    if errors is None or not errors.values:
        return "| | |"
    return f"{errors.count} | {errors.median:.1%} | {errors.p90:.1%} | {errors.worst:+.0%}"


def constants_table(runs: Sequence[Run], speed: LeftOut) -> str:
    """The fitted numbers: in use, fitted on all rows, and the range over the sources left out."""
    anew, without = fit(runs), [found for found, _ in speed.values()]
    lines = ["| number | in use | fitted on all | with a source left out |", "| --- " * 4 + "|"]
    for name in FITTED:
        values = [getattr(found, name) for found in without]
        lines.append(
            f"| {name} | {getattr(PUBLISHED, name):.2f} | {getattr(anew, name):.2f} | "
            f"{min(values):.2f} to {max(values):.2f} |"
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
    met = "no rows" if math.isnan(value) else "yes" if value <= limit else "no"
    return f"| {aim} | {value:.1%} | {met} |"
