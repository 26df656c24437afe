"""The fitted numbers of the speed model, anew: on all sources, and with one left out."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

from benchmarks.preflight_accuracy.measure import Run, speed_error
from training.preflight.calibration import FITTED, PUBLISHED, Calibration

LARGEST = {"width_per_tflop": 3.0, "traffic": 3.0}  # all others are shares
SMALLEST_STEP = 0.02
# A row counts as no more than this far off: a few are measured wrongly.
WORST_LOG = 0.7

LeftOut = dict[str, tuple[Calibration, list[float]]]


def fit(runs: Sequence[Run]) -> Calibration:
    """Go through the numbers again and again, each up or down while that helps, in ever smaller
    steps. A source counts by the root of its rows, lest the largest decide alone."""
    best, step = PUBLISHED, 0.16
    least = _loss(runs, best)
    while step >= SMALLEST_STEP:
        improved = False
        for name in FITTED:
            for factor in (1 + step, 1 - step):
                value = min(getattr(best, name) * factor, LARGEST.get(name, 1.0))
                tried = replace(best, **{name: value})
                loss = _loss(runs, tried)
                if loss < least - 1e-6:
                    best, least, improved = tried, loss, True
        if not improved:
            step /= 2
    return best


def _loss(runs: Sequence[Run], calibration: Calibration) -> float:
    by_source: dict[str, list[float]] = defaultdict(list)
    for run in runs:
        error = speed_error(run, calibration)
        if error is not None:
            by_source[run.source].append(min(abs(math.log1p(error)), WORST_LOG))
    weights = {source: math.sqrt(len(errors)) for source, errors in by_source.items()}
    weighted = (weights[s] * sum(errors) / len(errors) for s, errors in by_source.items())
    return sum(weighted) / sum(weights.values())


def left_out(runs: Sequence[Run], group: Callable[[Run], str]) -> LeftOut:
    """For each group the numbers fitted without it, and the errors they make on it."""
    found = {}
    for name in dict.fromkeys(group(run) for run in runs):
        others = [run for run in runs if group(run) != name]
        calibration = fit(others) if others else PUBLISHED
        errors = [speed_error(run, calibration) for run in runs if group(run) == name]
        found[name] = (calibration, [error for error in errors if error is not None])
    return found
