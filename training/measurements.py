"""What a run has taken, beside what was said of it; and what that teaches the next preflight.

`keep` belongs into the transaction in which an attempt ends, so that there is one row for each.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Any

from django.db.models import Max, Min, QuerySet

from accounts import changes
from api import remembered
from training import preflight
from training.models import ACTIVE, Job, Lease, Measurement, Metric
from training.preflight.corrections import FORMULAS
from training.trainer import events
from training.trainer.spec import TrainSpec

# The first logged step warms up, and so many more have to follow before their time is worth a word.
FEWEST_STEPS = 3
# The newest steps tell the time of a step; the newest runs of a card what estimates are worth.
STEPS_LOOKED_AT = 500
RUNS_LOOKED_AT = 200
_RUN_BYTES = 500  # in memory, with the logarithms of its ratios


@dataclass(frozen=True, kw_only=True)
class Taken:
    """``saw_longest``: whether the longest rows were among those it trained on, and nothing larger
    than training was done."""

    peak_mb: float
    step_ms: float | None
    steps: int
    saw_longest: bool


def keep(job: Job, attempt: int) -> None:
    """Write down what this attempt has measured, if it came far enough to measure anything.

    To be called before the move that ends it, while it still has its devices.
    """
    if not Job.objects.filter(pk=job.pk, attempt=attempt, status__in=ACTIVE).exists():
        return
    taken = _probed(job) if job.is_probe else _taken(job)
    said = Said.of(job.experiment.preflight)
    if taken is None or said is None:
        return
    same_settings = not job.events.filter(event=events.BATCH_HALVED).exists()
    comparable = said.knows_lengths and same_settings and _ran_on(job, said.kind.card)
    Measurement.objects.get_or_create(
        job=job,
        attempt=attempt,
        defaults={
            "project_id": job.project_id,
            "name": job.name,
            "model_name": job.experiment.base_model.name,
            "of_probe": job.is_probe,
            **said.kind._asdict(),
            "formulas": said.formulas,
            "steps": taken.steps,
            "predicted_peak_mb": said.peak_mb,
            "measured_peak_mb": taken.peak_mb,
            "predicted_step_ms": said.step_ms,
            "measured_step_ms": taken.step_ms,
            "memory_ratio": (
                taken.peak_mb / said.peak_mb * said.memory_factor
                if comparable and taken.saw_longest
                else None
            ),
            "time_ratio": (
                taken.step_ms / said.step_ms * said.time_factor
                if comparable and taken.step_ms is not None
                else None
            ),
        },
    )


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a preflight's report said of a run, in the words of what is measured: on a card what
    torch allocates, on the CPU all that the process occupies."""

    kind: preflight.Kind
    peak_mb: float
    step_ms: float
    memory_factor: float
    time_factor: float
    knows_lengths: bool
    formulas: int

    @classmethod
    def of(cls, report: dict[str, Any]) -> Said | None:
        """None for a report without numbers, or from before there were measurements."""
        confidence = report.get("confidence") or {}
        if "formulas" not in confidence or not report["time_per_step_ms"]:
            return None
        parts = report["vram_breakdown"]
        on_cpu = confidence["card"] == "cpu"
        peak_gb = parts["peak_allocated_gb"] + (parts["cuda_context_gb"] if on_cpu else 0)
        if peak_gb <= 0:
            return None
        return cls(
            kind=preflight.Kind(*(confidence[name] for name in preflight.Kind._fields)),
            peak_mb=peak_gb * 1024,
            step_ms=report["time_per_step_ms"],
            memory_factor=confidence["memory_factor"],
            time_factor=confidence["time_factor"],
            knows_lengths=confidence["knows_lengths"],
            formulas=confidence["formulas"],
        )


def corrections(experiment: preflight.Experiment) -> preflight.Corrections:
    """What the newest runs on this experiment's card teach. One query; worked out again once a
    run has been measured."""
    card = preflight.kind_of(experiment).card
    found: preflight.Corrections = remembered.value(
        lambda: _taught_on(card),
        asked=("corrections", card),
        state_now=lambda: changes.state(Measurement._meta.db_table),
        bytes_of=lambda taught: (1 + len(taught.runs)) * _RUN_BYTES,
    )
    return found


def _taught_on(card: str) -> preflight.Corrections:
    rows = Measurement.objects.filter(card=card, formulas=FORMULAS).order_by("-created_at")
    columns = ("card", "method", "strategy", "memory_ratio", "time_ratio")
    return of_rows(rows.values_list(*columns)[:RUNS_LOOKED_AT])


def of_rows(rows: Iterable[Any]) -> preflight.Corrections:
    """``rows`` are (card, method, strategy, memory_ratio, time_ratio)."""
    return preflight.Corrections(
        tuple(
            preflight.Run(preflight.Kind(card, method, strategy), memory, time)
            for card, method, strategy, memory, time in rows
        )
    )


def _taken(job: Job) -> Taken | None:
    """By the steps that this attempt has logged; None where it has none."""
    began = job.events.filter(event="running").aggregate(Max("cursor"))["cursor__max"] or 0
    logged = job.metrics.filter(cursor__gt=began, memory_mb__gt=0)
    peak_mb = logged.aggregate(Max("memory_mb"))["memory_mb__max"]
    if peak_mb is None:
        return None
    train = TrainSpec(**job.experiment.train)
    speeds = list(
        logged.order_by("-step").values_list("samples_per_s", flat=True)[:STEPS_LOOKED_AT]
    )
    reaches_back = len(speeds) < STEPS_LOOKED_AT
    warm = speeds[:-1] if reaches_back else speeds
    times = [1000 * train.global_batch_size / speed for speed in warm if speed]
    return Taken(
        peak_mb=peak_mb,
        step_ms=median(times) if len(times) >= FEWEST_STEPS else None,
        steps=len(speeds),
        saw_longest=_saw_longest(job, train, steps=_steps_of(job, logged)),
    )


def _steps_of(job: Job, logged: QuerySet[Metric]) -> int:
    """That an attempt has made: it may have gone on from a checkpoint of another."""
    first: int = logged.aggregate(Min("step"))["step__min"]
    return job.step - (first - 1)


def _saw_longest(job: Job, train: TrainSpec, *, steps: int) -> bool:
    """Once every row has been seen in ``steps``, those that the peak is of; where all are alike or
    the longest come first, at once. Never where suites are measured too: what they take has nothing
    to do with training."""
    if job.experiment.eval.get("suites"):
        return False
    method = job.experiment.recipe.method
    if train.packing or train.group_by_length or method in ("pretrain", "image_classification"):
        return True
    dataset = job.experiment.dataset
    rows = dataset.statistics.get("rows", {}).get("train") or dataset.num_samples or 0
    return 0 < rows <= steps * train.global_batch_size


def _probed(job: Job) -> Taken | None:
    """By what a probe has told; None where it has not come to an end."""
    told = job.events.filter(event=events.MEASURED).order_by("cursor").last()
    if told is None:
        return None
    return Taken(
        peak_mb=told.facts["peak_memory_mb"],
        step_ms=1000 * told.facts["step_seconds"],
        steps=told.facts["steps"],
        saw_longest=True,
    )


def _ran_on(job: Job, card: str) -> bool:
    """Whether its devices are what the preflight had in mind."""
    leases = Lease.objects.filter(job=job).select_related("device")
    return {lease.device.gpu_type or "cpu" for lease in leases} == {card}
