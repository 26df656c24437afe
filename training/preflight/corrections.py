"""What own runs have taught: by how much estimates of a kind were off, and how far they still are.

A kind is a card, a method and a strategy. Its factor is the median of measured by estimated (in
logarithms, so that twice and half weigh the same), drawn towards that of the next coarser kind as
long as its runs are few: (card, method, strategy), (card, method), (card), and in the end 1. A kind
has a factor only where its runs, each corrected by what the others teach, are nearer for it: what
differs from run to run by chance teaches nothing. One run out of line moves a median little, and no
factor leaves its bounds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from statistics import median
from typing import NamedTuple

from training.preflight.calibration import PUBLISHED, Calibration
from training.preflight.facts import Experiment
from training.preflight.hardware import card_for

# To be raised when the formulas change so much that ratios to the earlier ones say nothing.
FORMULAS = 2
FEWEST_RUNS = 3  # of a kind, before it has a factor of its own
# The coarser kind weighs as much as so many runs.
PRIOR_RUNS = 2.0
# Beyond these it is not the formula that is wrong, but something that nobody has understood. The
# time of a CPU is a rough figure per core to begin with.
MEMORY_BOUND = 2.0
TIME_BOUND = 8.0
# Whatever the machine told, no run was further off than this.
FURTHEST = 1e6
LEAST_DOUBT = 0.1
ONE_DEVICE = "one"


class Kind(NamedTuple):
    """``method`` is how weights are trained, after the method's own name where it has another:
    "lora", "dpo-lora". ``strategy`` is "one" where one device trains alone."""

    card: str
    method: str
    strategy: str


class Run(NamedTuple):
    """Measured by estimated, without any correction; None where nothing can be learned."""

    kind: Kind
    memory: float | None
    time: float | None


@dataclass(frozen=True, kw_only=True)
class Factor:
    """``percent`` is the median error of the runs' own estimates, each corrected by what all the
    others teach where that helps; None where ``runs`` are too few to say."""

    value: float = 1.0
    percent: float | None = None
    runs: int = 0

    @property
    def doubt(self) -> float | None:
        """The factor that nineteen of twenty runs stay within, where half of them stay within
        ``percent``: three times that, as of normal errors, and a tenth at least."""
        return None if self.percent is None else 1 + max(3 * self.percent / 100, LEAST_DOUBT)


@dataclass(frozen=True, kw_only=True)
class Correction:
    """By what an estimate of this kind is multiplied."""

    kind: Kind
    memory: Factor
    time: Factor

    @cached_property
    def calibration(self) -> Calibration:
        return replace(
            PUBLISHED,
            peak_memory=PUBLISHED.peak_memory * self.memory.value,
            step_time=PUBLISHED.step_time * self.time.value,
            time_doubt=self.time.doubt,
        )


@dataclass(frozen=True)
class Corrections:
    """Of every kind, from these runs."""

    runs: tuple[Run, ...] = ()
    _known: dict[Kind, Correction] = field(default_factory=dict, compare=False, repr=False)

    def of(self, experiment: Experiment) -> Correction:
        return self.of_kind(kind_of(experiment))

    def of_kind(self, kind: Kind) -> Correction:
        if kind not in self._known:
            self._known[kind] = Correction(
                kind=kind,
                memory=_factor(self._memory, kind, MEMORY_BOUND),
                time=_factor(self._time, kind, TIME_BOUND),
            )
        return self._known[kind]

    def after(
        self, kind: Kind, *, memory: float | None = None, time: float | None = None
    ) -> Corrections:
        """With what a run of the very same settings has measured: that stands, whatever others
        did."""
        before = self.of_kind(kind)
        found = replace(
            before,
            memory=Factor(value=memory, percent=0.0, runs=1) if memory else before.memory,
            time=Factor(value=time, percent=0.0, runs=1) if time else before.time,
        )
        return Corrections(self.runs, {kind: found})

    @cached_property
    def _memory(self) -> list[tuple[Kind, float]]:
        return _logs((run.kind, run.memory) for run in self.runs)

    @cached_property
    def _time(self) -> list[tuple[Kind, float]]:
        return _logs((run.kind, run.time) for run in self.runs)


NO_RUNS = Corrections()


def kind_of(experiment: Experiment) -> Kind:
    method, tuning = experiment.recipe.method, experiment.tuning
    resources = experiment.resources
    return Kind(
        card=card_for(resources).slug,
        method=method if method in ("full", "lora", "qlora") else f"{method}-{tuning}",
        strategy=resources.strategy or "ddp" if resources.gpus > 1 else ONE_DEVICE,
    )


def _logs(ratios: Iterable[tuple[Kind, float | None]]) -> list[tuple[Kind, float]]:
    return [
        (kind, math.log(_within(ratio, FURTHEST)))
        for kind, ratio in ratios
        if ratio is not None and 0 < ratio < math.inf
    ]


def _factor(ratios: Iterable[tuple[Kind, float]], kind: Kind, bound: float) -> Factor:
    found = [(one, ratio) for one, ratio in ratios if one.card == kind.card]
    prior, told = 0.0, Factor()
    for level in (1, 2, 3):
        alike = sorted(ratio for one, ratio in found if one[:level] == kind[:level])
        if len(alike) < FEWEST_RUNS:
            break
        without = 100 * median(abs(math.exp(prior - ratio) - 1) for ratio in alike)
        percent = 100 * _median_error(alike, prior, bound)
        if percent < without:
            prior = _drawn(median(alike), len(alike), prior)
        percent = min(percent, without)
        told = Factor(value=_within(math.exp(prior), bound), percent=percent, runs=len(alike))
    return told


def _drawn(middle: float, runs: int, prior: float) -> float:
    return (runs * middle + PRIOR_RUNS * prior) / (runs + PRIOR_RUNS)


def _within(factor: float, bound: float) -> float:
    return min(max(factor, 1 / bound), bound)


def _median_error(ratios: list[float], prior: float, bound: float) -> float:
    """Of each of these (sorted, three or more) once it is corrected by the others.

    The median of the others is one of three: what is left out stood below the middle, in it, or
    above.
    """
    middle = (len(ratios) - 1) // 2

    def factor_without(place: int) -> float:
        others = median(ratios[:place] + ratios[place + 1 :])
        return _within(math.exp(_drawn(others, len(ratios) - 1, prior)), bound)

    below, within, above = (factor_without(middle + step) for step in (-1, 0, 1))
    errors = [abs(below / math.exp(ratio) - 1) for ratio in ratios[:middle]]
    errors.append(abs(within / math.exp(ratios[middle]) - 1))
    errors += [abs(above / math.exp(ratio) - 1) for ratio in ratios[middle + 1 :]]
    return median(errors)
