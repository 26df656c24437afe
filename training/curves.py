"""The points of a curve that a page needs: enough to see its shape, never all of a long run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from django.db.models import F, QuerySet, Window
from django.db.models.functions import Mod, RowNumber

from training.models import Job, JobEvent, Metric
from training.trainer import events

COLUMNS = ("step", "loss", "learning_rate", "grad_norm", "tokens_per_s", "memory_mb")


def of_job(job: Job, points: int = 400) -> list[dict[str, Any]]:
    """The columns of a curve, thinned to ``points``."""
    metrics = Metric.objects.filter(job=job, loss__isnull=False).order_by("step")
    return list(thinned(metrics, points).values(*COLUMNS))


def thinned(metrics: QuerySet[Metric], points: int) -> QuerySet[Metric]:
    """Every n-th row, so that at most ``points`` remain (one at least), and always the last."""
    stride = -(-metrics.count() // max(points, 1)) or 1
    if stride == 1:
        return metrics
    place = Window(RowNumber(), order_by=F("step").desc())
    return metrics.annotate(place=place).annotate(rest=Mod("place", stride)).filter(rest=1)


def evaluations(job: Job) -> list[dict[str, Any]]:
    """``[{"step", "loss"}]`` of the held-out rows, step 0 being the base model."""
    rows = JobEvent.objects.filter(job=job, event=events.EVALUATION).values_list("step", "facts")
    return [
        {"step": step or 0, "loss": facts["eval_loss"]}
        for step, facts in rows
        if isinstance(facts.get("eval_loss"), int | float)
    ]


def recent_losses(jobs: Iterable[Job], points: int = 60) -> dict[UUID, list[float]]:
    """The last losses of each of these jobs, oldest first, in one query."""
    curves: dict[UUID, list[float]] = {job.pk: [] for job in jobs}
    newest = Metric.objects.filter(job__in=list(curves), cursor__gt=F("job__cursor") - points)
    for pk, loss in newest.order_by("step").values_list("job", "loss"):
        if loss is not None:
            curves[pk].append(loss)
    return curves


def polyline(values: Sequence[float], width: int, height: int) -> str:
    """The ``points`` of an SVG polyline that fills ``width`` × ``height``; "" for less than two."""
    if len(values) < 2:
        return ""
    low, high = min(values), max(values)
    scale = (height - 4) / (high - low) if high > low else 0
    across = width / (len(values) - 1)
    return " ".join(
        f"{n * across:.1f},{height - 2 - (value - low) * scale:.1f}"
        for n, value in enumerate(values)
    )
