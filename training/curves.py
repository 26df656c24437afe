"""The points of a curve that a page needs: enough to see its shape, never all of a long run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any
from uuid import UUID

from django.db.models import F, Q, QuerySet, Window
from django.db.models.functions import Mod, RowNumber

from training.models import Job, Metric
from training.trainer.spec import TrainSpec

COLUMNS = ("step", "loss", "learning_rate", "grad_norm", "tokens_per_s", "memory_mb")
# What a job's page draws, by column.
DRAWN = {
    "loss": "Training loss",
    "learning_rate": "Learning rate",
    "tokens_per_s": "Tokens per second",
    "memory_mb": "Memory",
}


def of_job(job: Job, points: int = 300) -> list[dict[str, Any]]:
    """The columns of a curve, at most ``points`` rows of it, evenly, with the last."""
    rows = _at(job, _steps(job, points))
    found = list(rows.values(*COLUMNS))
    if 2 * len(found) >= min(points, job.step // _every(job)):
        return found
    # It has not logged when it should have: look at every row.
    logged = Metric.objects.filter(job=job, loss__isnull=False).order_by("step")
    return list(thinned(logged, points).values(*COLUMNS))


def of_jobs(jobs: Sequence[Job], points: int = 200) -> dict[UUID, list[dict[str, Any]]]:
    """The same of several, in one query."""
    curves: dict[UUID, list[dict[str, Any]]] = {job.pk: [] for job in jobs}
    wanted = reduce(or_, (Q(job=job, step__in=_steps(job, points)) for job in jobs), Q(pk__in=[]))
    rows = Metric.objects.filter(wanted, loss__isnull=False).order_by("step")
    for row in rows.values("job", *COLUMNS):
        curves[row.pop("job")].append(row)
    return curves


def _at(job: Job, steps: list[int]) -> QuerySet[Metric]:
    return Metric.objects.filter(job=job, step__in=steps, loss__isnull=False).order_by("step")


def _steps(job: Job, points: int) -> list[int]:
    """At most so many steps that a job has logged, evenly, with its last. Each is found by an
    index, where thinning reads all rows of a long run."""
    every = _every(job)
    logged = -(-job.step // every)
    stride = max(-(-logged // points), 1) * every
    last = job.step // every * every
    first = {1} if every > 1 else set()
    return sorted({*first, job.step, *range(last, 0, -stride)})


def _every(job: Job) -> int:
    """Steps from one that is logged to the next."""
    return int(job.experiment.train.get("logging_steps") or TrainSpec.logging_steps)


def thinned(metrics: QuerySet[Metric], points: int) -> QuerySet[Metric]:
    """Every n-th row, so that at most ``points`` remain (one at least), and always the last."""
    stride = -(-metrics.count() // max(points, 1)) or 1
    if stride == 1:
        return metrics
    place = Window(RowNumber(), order_by=F("step").desc())
    return metrics.annotate(place=place).annotate(rest=Mod("place", stride)).filter(rest=1)


def recent_losses(jobs: Iterable[Job], points: int = 60) -> dict[UUID, list[float]]:
    """The last losses of each of these jobs, oldest first, in one query."""
    curves: dict[UUID, list[float]] = {job.pk: [] for job in jobs}
    newest = Metric.objects.filter(job__in=list(curves), cursor__gt=F("job__cursor") - points)
    for pk, loss in newest.order_by("step").values_list("job", "loss"):
        if loss is not None:
            curves[pk].append(loss)
    return curves


def by_column(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """For a script, in few bytes: a list of each column, six digits of each number."""
    columns = ("step", *DRAWN)
    return {name: [short(row[name]) for row in rows] for name in columns}


def short(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value


@dataclass(frozen=True)
class Drawing:
    """One curve as the server draws it, and its ends for those who do not see it."""

    column: str
    label: str
    points: str
    first: Mapping[str, Any]
    last: Mapping[str, Any]

    @property
    def ends(self) -> tuple[Any, Any]:
        return self.first[self.column], self.last[self.column]


def drawings(rows: Sequence[Mapping[str, Any]], size: Mapping[str, int]) -> list[Drawing]:
    """Of each column that has two values at least."""
    found = []
    for column, label in DRAWN.items():
        known = [row for row in rows if row[column] is not None]
        if points := polyline([row[column] for row in known], **size):
            found.append(Drawing(column, label, points, known[0], known[-1]))
    return found


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


def overlaid(curves: Sequence[Sequence[Sequence[float]]], width: int, height: int) -> list[str]:
    """The same of several curves of [x, y] in one drawing; "" for one of less than two points."""
    points = [point for curve in curves for point in curve]
    if not points:
        return ["" for _ in curves]
    (left, low), (right, high) = (
        (pick(x for x, _ in points), pick(y for _, y in points)) for pick in (min, max)
    )
    across = width / (right - left) if right > left else 0
    down = (height - 4) / (high - low) if high > low else 0
    return [
        " ".join(f"{(x - left) * across:.1f},{height - 2 - (y - low) * down:.1f}" for x, y in curve)
        if len(curve) > 1
        else ""
        for curve in curves
    ]
