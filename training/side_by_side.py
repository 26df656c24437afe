"""Several jobs beside each other: what they were told differently, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from training import curves, evaluations
from training.models import Job, JobEvent
from training.trainer import events

MOST_JOBS = 20
# Of all curves together, so that the page stays light however many there are.
POINTS = 1200
MOST_POINTS = 200
SECTIONS = ("train", "lora", "resources", "eval", "columns")


@dataclass(frozen=True)
class Line:
    """One setting or number, with what each job has there; None where it has none."""

    name: str
    values: list[Any]
    links: list[str] | None = None

    @property
    def differs(self) -> bool:
        return any(value != self.values[0] for value in self.values)


def settings(jobs: Sequence[Job]) -> list[Line]:
    """Every setting of any of them, by its name in the API."""
    made_from = [
        Line("base model", [str(job.experiment.base_model) for job in jobs],
             [f"/models/{job.experiment.base_model_id}" for job in jobs]),
        Line("dataset", [str(job.experiment.dataset) for job in jobs],
             [f"/datasets/{job.experiment.dataset_id}" for job in jobs]),
        Line("recipe", [str(job.experiment.recipe) for job in jobs],
             [f"/recipes/{job.experiment.recipe_id}" for job in jobs]),
        Line("recipe version", [job.experiment.recipe_version for job in jobs]),
    ]  # fmt: skip
    flat = [_flat(job) for job in jobs]
    names = sorted({name for one in flat for name in one}, key=_place)
    return made_from + [Line(name, [one.get(name) for one in flat]) for name in names]


def _flat(job: Job) -> dict[str, Any]:
    experiment = job.experiment
    found = {
        f"{section}.{name}": value
        for section in SECTIONS
        for name, value in getattr(experiment, section).items()
    }
    found["export"] = experiment.export
    if experiment.resumed_step is not None:
        found["resume_from_checkpoint.step"] = experiment.resumed_step
    return found


def _place(name: str) -> tuple[int, str]:
    section = name.partition(".")[0]
    return (SECTIONS.index(section) if section in SECTIONS else len(SECTIONS), name)


def numbers(jobs: Sequence[Job]) -> list[Line]:
    """What each of them measured last, by the names of the numbers."""
    measured = [job.evaluation.get("after") or {} for job in jobs]
    return [
        Line(name, [facts.get(name) for facts in measured])
        for name in evaluations.names_of(*measured)
    ]


def best_of(line: Line) -> Any:
    """The best value of a number; None where all are alike or one alone has it."""
    known = [value for value in line.values if isinstance(value, int | float)]
    if len(known) < 2 or len(set(known)) == 1:
        return None
    return (max if evaluations.greater_is_better(line.name) else min)(known)


def series(jobs: Sequence[Job]) -> list[dict[str, Any]]:
    """For the chart: of each job its logged steps, thinned, and its held-out losses."""
    logged = curves.of_jobs(jobs, min(POINTS // len(jobs), MOST_POINTS))
    held_out: dict[Any, list[list[float]]] = {job.pk: [] for job in jobs}
    told = JobEvent.objects.filter(job__in=jobs, event=events.EVALUATION).order_by("cursor")
    for pk, step, facts in told.values_list("job", "step", "facts"):
        if isinstance(loss := facts.get("eval_loss"), int | float):
            held_out[pk].append([step or 0, loss])
    return [
        {
            "name": job.name,
            "loss": _pairs(logged[job.pk], "loss"),
            "eval_loss": held_out[job.pk],
            "learning_rate": _pairs(logged[job.pk], "learning_rate"),
            "tokens_per_s": _pairs(logged[job.pk], "tokens_per_s"),
        }
        for job in jobs
    ]


def _pairs(rows: Sequence[dict[str, Any]], column: str) -> list[list[Any]]:
    return [[row["step"], curves.short(row[column])] for row in rows]
