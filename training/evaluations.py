"""What was measured on held-out rows: before, after, and at each checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from training import checkpoints
from training.models import Checkpoint, Job, JobEvent
from training.trainer import events
from training.trainer.spec import TrainSpec

STDERR = "_stderr"


@dataclass(frozen=True)
class Number:
    """One that was measured before and after. The bars are in percent of the larger of the two."""

    name: str
    before: float | None
    after: float | None
    before_error: float | None = None
    after_error: float | None = None

    @property
    def bars(self) -> list[dict[str, Any]]:
        values = {"Before": self.before, "After": self.after}
        largest = max((abs(v) for v in values.values() if v is not None), default=0) or 1
        return [
            {"label": label, "value": value, "percent": round(100 * abs(value) / largest, 1)}
            for label, value in values.items()
            if value is not None
        ]

    @property
    def tone(self) -> str:
        """Whether the change is for the better: of a loss or a perplexity less is."""
        if self.before is None or self.after is None or self.before == self.after:
            return "quiet"
        return "good" if (self.after > self.before) == greater_is_better(self.name) else "bad"


def greater_is_better(name: str) -> bool:
    return not name.endswith(("loss", "perplexity"))


@dataclass
class Row:
    """A checkpoint of the list. ``elsewhere`` is the job that has measured it apart."""

    checkpoint: Checkpoint
    numbers: dict[str, float] = field(default_factory=dict)
    is_best: bool = False
    is_there: bool = True
    elsewhere: Job | None = None
    cannot_go: str = ""


def of_job(job: Job) -> dict[int, dict[str, Any]]:
    """What was measured at each step, 0 being the base model; in the order of the steps."""
    told = JobEvent.objects.filter(job=job, event__in=[events.EVALUATION, events.BEST])
    rows = told.order_by("cursor").values_list("step", "facts")
    return dict(sorted((step or 0, facts) for step, facts in rows))


def before_and_after(job: Job) -> list[Number]:
    before, after = job.evaluation.get("before") or {}, job.evaluation.get("after") or {}
    return [
        Number(
            name,
            before.get(name),
            after.get(name),
            before.get(f"{name}{STDERR}"),
            after.get(f"{name}{STDERR}"),
        )
        for name in names_of(before, after)
    ]


def names_of(*measured: dict[str, Any]) -> list[str]:
    """Of the numbers, without the step and the standard errors."""
    every = {name: value for facts in measured for name, value in facts.items()}
    return [
        name
        for name, value in sorted(every.items())
        if name != "step" and not name.endswith(STDERR) and _is_number(value)
    ]


def of_checkpoints(job: Job, measured: dict[int, dict[str, Any]], user: Any) -> list[Row]:
    """Newest first, each with what was measured at its step, by this job or by one that was made
    to measure it."""
    rows = list(job.checkpoints.order_by("-step"))
    if not rows:
        return []
    apart = {
        one.experiment.resumed_step: one
        for one in Job.objects.visible_to(user)
        .filter(experiment__resumed_job=job, metadata__origin="evaluation")
        .select_related("experiment")
        .order_by("created_at")
    }
    shown = []
    for row in rows:
        row.job = job
        elsewhere = apart.get(row.step)
        facts = measured.get(row.step) or (elsewhere.evaluation.get("after") if elsewhere else None)
        numbers = {name: facts[name] for name in names_of(facts)} if facts else {}
        shown.append(
            Row(
                row,
                numbers,
                is_there=checkpoints.is_there(row),
                elsewhere=elsewhere,
                cannot_go=checkpoints.why_not_delete(job, row.step, rows[0].step),
            )
        )
    _mark_best(shown, job)
    return shown


def _mark_best(rows: list[Row], job: Job) -> None:
    """By the number that the job itself goes by, as far as it was measured."""
    train = TrainSpec(**job.experiment.train)
    metric, greater = train.best_metric, train.greatest_is_best
    known = [row for row in rows if metric in row.numbers]
    if known:
        best = (max if greater else min)(known, key=lambda row: row.numbers[metric])
        best.is_best = True


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
