"""What own runs have taught: by how much estimates of a kind were off, and how far they still are.

A kind is a card, a method and a strategy. Its factor is the median of measured by estimated (in
logarithms, so that twice and half weigh the same), drawn towards that of the next coarser kind as
long as its runs are few: (card, method, strategy), (card, method), (card), and in the end 1. One
run out of line moves a median little, and no factor leaves its bounds.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from statistics import median
from typing import NamedTuple

from training.preflight.calibration import PUBLISHED, Calibration
from training.preflight.facts import Experiment
from training.preflight.hardware import card_for

# To be raised when the formulas change so much that ratios to the earlier ones say nothing.
FORMULAS = 1
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
    others teach; None where ``runs`` are too few to say."""

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

    def calibration(self, base: Calibration = PUBLISHED) -> Calibration:
        return replace(
            base,
            peak_memory=base.peak_memory * self.memory.value,
            step_time=base.step_time * self.time.value,
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
                memory=_factor(self._logs(lambda run: run.memory), kind, MEMORY_BOUND),
                time=_factor(self._logs(lambda run: run.time), kind, TIME_BOUND),
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

    def _logs(self, ratio: Callable[[Run], float | None]) -> list[tuple[Kind, float]]:
        return [
            (run.kind, math.log(_within(value, FURTHEST)))
            for run in self.runs
            if (value := ratio(run)) is not None and 0 < value < math.inf
        ]


NO_RUNS = Corrections()


def kind_of(experiment: Experiment) -> Kind:
    method, tuning = experiment.recipe.method, experiment.tuning
    resources = experiment.resources
    return Kind(
        card=card_for(resources).slug,
        method=method if method in ("full", "lora", "qlora") else f"{method}-{tuning}",
        strategy=resources.strategy or "ddp" if resources.gpus > 1 else ONE_DEVICE,
    )


def _factor(ratios: Iterable[tuple[Kind, float]], kind: Kind, bound: float) -> Factor:
    found = [(one, ratio) for one, ratio in ratios if one.card == kind.card]
    prior, told = 0.0, Factor()
    for level in (1, 2, 3):
        alike = sorted(ratio for one, ratio in found if one[:level] == kind[:level])
        if len(alike) < FEWEST_RUNS:
            break
        percent = 100 * _median_error(alike, prior, bound)
        prior = _drawn(median(alike), len(alike), prior)
        told = Factor(value=_within(math.exp(prior), bound), percent=percent, runs=len(alike))
    return told


def _drawn(middle: float, runs: int, prior: float) -> float:
    return (runs * middle + PRIOR_RUNS * prior) / (runs + PRIOR_RUNS)


def _within(factor: float, bound: float) -> float:
    return min(max(factor, 1 / bound), bound)


def _median_error(ratios: list[float], prior: float, bound: float) -> float:
    """Of each of these (sorted) once it is corrected by the others."""
    errors = []
    for ratio in ratios:
        others = _median_without(ratios, bisect.bisect_left(ratios, ratio))
        factor = _within(math.exp(_drawn(others, len(ratios) - 1, prior)), bound)
        errors.append(abs(factor / math.exp(ratio) - 1))
    return median(errors)


def _median_without(ratios: list[float], gone: int) -> float:
    """Of a sorted list without its element at ``gone``."""
    rest = len(ratios) - 1

    def at(place: int) -> float:
        return ratios[place + (place >= gone)]

    return at(rest // 2) if rest % 2 else (at(rest // 2 - 1) + at(rest // 2)) / 2
