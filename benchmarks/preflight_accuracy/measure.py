"""Predicted against measured: memory, speed, and whether a run fits."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from statistics import median

from benchmarks.preflight_accuracy.rivals import RIVALS
from benchmarks.preflight_accuracy.rows import Row, experiment_of
from training.preflight import Experiment
from training.preflight.calibration import PUBLISHED, Calibration
from training.preflight.estimate import Estimate, estimate
from training.preflight.hardware import MIB
from training.preflight.speed import estimate_speed


@dataclass(kw_only=True)
class Run:
    """A row and what it is to us."""

    row: Row
    experiment: Experiment
    calibration: Calibration = PUBLISHED

    @property
    def source(self) -> str:
        return str(self.row["source_group"])

    @property
    def method(self) -> str:
        if "bert" in self.experiment.model.name:
            return "classification"
        return "qlora" if self.experiment.model.quantized else self.experiment.tuning

    @cached_property
    def estimate(self) -> Estimate:
        found = estimate(self.experiment, self.calibration)
        if found is None:
            raise ValueError(f"{self.row['id']}: nothing is known of the model's size")
        return found


@dataclass(frozen=True, kw_only=True)
class Errors:
    """Of several rows: predicted / measured - 1. Of none, numbers that are not any."""

    values: tuple[float, ...]

    @property
    def count(self) -> int:
        return len(self.values)

    @property
    def median(self) -> float:
        return median(abs(value) for value in self.values) if self.values else math.nan

    @property
    def p90(self) -> float:
        sizes = sorted(abs(value) for value in self.values)
        return sizes[max(0, -(-9 * len(sizes) // 10) - 1)] if sizes else math.nan

    @property
    def worst(self) -> float:
        return max(self.values, key=abs, default=math.nan)


def runs_of(rows: Iterable[Row]) -> tuple[list[Run], list[str]]:
    """Those we can say something of, and the ids of the others."""
    runs, others = [], []
    for row in rows:
        experiment = experiment_of(row)
        if experiment is None:
            others.append(str(row["id"]))
        else:
            runs.append(Run(row=row, experiment=experiment))
    return runs, others


def memory_error(run: Run) -> float | None:
    """What the source measured against what the preflight says of that: torch's peak, what torch
    has reserved, or what nvidia-smi shows, as which we read a source that does not say."""
    measured = float(run.row.get("measured_peak_bytes") or 0)
    if not measured:
        return None
    memory, metric = run.estimate.memory, str(run.row["memory_metric"])
    if "nvidia-smi" in metric or "unstated" in metric:
        said = re.search(r"(\d+) MB CUDA context", metric)  # where the source has measured it
        context = int(said[1]) * MIB if said else memory.context_bytes
        return (memory.reserved_bytes + context) / measured - 1
    if "reserved" in metric and "not specified" not in metric:
        return memory.reserved_bytes / measured - 1
    return memory.peak_allocated_bytes / measured - 1


def rival_error(run: Run, name: str) -> float | None:
    """On one card, where the rule says anything at all."""
    measured = float(run.row.get("measured_peak_bytes") or 0)
    if not measured or run.experiment.resources.gpus > 1:
        return None
    predicted = RIVALS[name](run.experiment, run.estimate.shape)
    return None if predicted is None else predicted / measured - 1


def speed_error(run: Run, calibration: Calibration = PUBLISHED) -> float | None:
    """Tokens a second of one card."""
    measured = float(run.row.get("tokens_per_s_per_gpu") or 0)
    if not measured:
        return None
    found = run.estimate
    speed = estimate_speed(
        run.experiment, found.shape, found.card, found.memory, calibration
    ).tokens_per_second
    cards = max(run.experiment.resources.gpus, 1) * run.experiment.stack.context_ranks
    return speed / cards / measured - 1


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """Rows by what we say (fits or not) and what happened (ran or ran out of memory)."""

    fits_ran: int = 0
    fits_ran_out: int = 0
    not_ran: int = 0
    not_ran_out: int = 0

    @property
    def false_fits(self) -> float:
        """Of the runs that we would have let go ahead."""
        return self.fits_ran_out / max(self.fits_ran + self.fits_ran_out, 1)

    @property
    def false_refusals(self) -> float:
        """Of the runs that ran."""
        return self.not_ran / max(self.fits_ran + self.not_ran, 1)


def confusion(runs: Iterable[Run]) -> Confusion:
    counts = {"fits_ran": 0, "fits_ran_out": 0, "not_ran": 0, "not_ran_out": 0}
    for run in runs:
        told = "fits" if run.estimate.fits else "not"
        counts[f"{told}_{'ran_out' if run.row.get('oom') else 'ran'}"] += 1
    return Confusion(**counts)
