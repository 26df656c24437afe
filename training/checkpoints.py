"""A job's checkpoints: where they lie, deleting one, beginning another job with one.

A job that begins with a checkpoint gets a copy of its own (hard links, so it costs nothing) and the
way there: the curve, the evaluations. Nothing that happens to the other job later touches it.
"""

from __future__ import annotations

import json
import os
import shutil
from functools import partial
from pathlib import Path
from typing import Any

from django.db import transaction
from django.db.models import F

from activity import audit
from training import curves, lifecycle
from training.models import ACTIVE, Checkpoint, Experiment, Job, JobEvent, Metric, Status
from training.progress import METRIC_FIELDS
from training.run_plan import run_dir
from training.trainer import events

# Of the way to a checkpoint so many steps are told: enough for the shape of the curve.
STEPS_TOLD = 2000
# What a checkpoint only goes on with: its weights and the optimizer's states are made for these.
SAME_TRAIN = ("optim", "dtype", "use_peft", "load_in_4bit")
SAME_LORA = ("r", "target_modules", "use_dora", "use_rslora")


class CannotBeDone(Exception):
    """The checkpoint stays as it is; the message says why."""


def folder_of(checkpoint: Checkpoint) -> Path:
    """Where it lies, whatever its row says of the way there. It may be gone."""
    return _folder_in(run_dir(checkpoint.job), checkpoint.step)


def _folder_in(run: Path, step: int) -> Path:
    """As `training.trainer.checkpoint` names it."""
    return run / "checkpoints" / f"step-{step:06d}"


def is_there(checkpoint: Checkpoint) -> bool:
    return folder_of(checkpoint).is_dir()


# --- Deleting ------------------------------------------------------------------------------------


def why_not_delete(job: Job, step: int, newest: int) -> str:
    """Empty where it can go. ``newest`` is the last checkpoint of the job."""
    if job.status in ACTIVE:
        return "While it trains, the trainer looks after its checkpoints itself."
    if step == newest and job.status in (Status.QUEUED, Status.PAUSED):
        return "The job goes on from this checkpoint."
    return ""


@transaction.atomic
def delete(checkpoint: Checkpoint, *, actor: Any) -> None:
    """Raises CannotBeDone."""
    job = Job.objects.select_for_update().get(pk=checkpoint.job_id)
    steps = list(job.checkpoints.order_by("-step").values_list("step", flat=True))
    if reason := why_not_delete(job, checkpoint.step, steps[0] if steps else 0):
        raise CannotBeDone(reason)
    folder = folder_of(checkpoint)
    audit.note(
        job, "delete_checkpoint", actor=actor, changes={"checkpoint": [checkpoint.step, None]}
    )
    lifecycle.tell(
        job, "checkpoint_deleted", message=f"{actor} deleted the checkpoint of step "
        f"{checkpoint.step:,}.", facts={"step": checkpoint.step},
    )  # fmt: skip
    checkpoint.delete()
    transaction.on_commit(partial(remove, folder))


def remove(folder: Path) -> None:
    """As the trainer does it: a kill in between leaves nothing that looks like a checkpoint."""
    if folder.exists():
        doomed = folder.with_name(f"{folder.name}.old.tmp")
        shutil.rmtree(doomed, ignore_errors=True)
        os.rename(folder, doomed)
        shutil.rmtree(doomed)


# --- Beginning with one --------------------------------------------------------------------------


def why_not_resume(checkpoint: Checkpoint, plan: dict[str, Any]) -> dict[str, str]:
    """What of a complete plan (`judging.complete`) does not go with the checkpoint, by field."""
    experiment = checkpoint.job.experiment
    found: dict[str, str] = {}
    if plan["base_model"].pk != experiment.base_model_id:
        found["base_model_id"] = f"The checkpoint is one of {experiment.base_model}."
    if plan["recipe"].method != experiment.recipe.method:
        found["recipe_id"] = f"The checkpoint was trained by the method {experiment.recipe.method}."
    sections = {"train": SAME_TRAIN, "lora": SAME_LORA}
    for section, names in sections.items():
        was = getattr(experiment, section)
        for name in names:
            old, new = was.get(name), plan[section].get(name)
            if old is not None and _kind(old) != _kind(new):
                found[f"{section}.{name}"] = f"The checkpoint was made with {_shown(old)}."
    if (steps := plan["train"].get("max_steps")) and steps < checkpoint.step:
        found["train.max_steps"] = f"The checkpoint is of step {checkpoint.step:,} already."
    if not is_there(checkpoint):
        found["resume_from_checkpoint"] = "The files of this checkpoint are gone."
    return found


def _kind(value: Any) -> Any:
    """The fused AdamW keeps the same states as the other."""
    return "adamw" if isinstance(value, str) and value.startswith("adamw_torch") else value


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def seed(job: Job, checkpoint: Checkpoint) -> None:
    """Give a job that has not begun the checkpoint, and the way there. Inside the transaction that
    makes the job; what is on disk goes again where that is rolled back by `unseed`."""
    source = checkpoint.job
    steps, evaluations = _way_to(checkpoint, job.experiment)
    folder = run_dir(job)
    link_tree(folder_of(checkpoint), _folder_in(folder, checkpoint.step))
    lines = [
        {"event": event, "time": when.timestamp(), **facts}
        for event, when, facts in [
            *((events.STEP, m.logged_at, {n: getattr(m, n) for n in METRIC_FIELDS}) for m in steps),
            *((events.EVALUATION, e.created_at, e.facts) for e in evaluations),
        ]
    ]
    with open(folder / events.FILE_NAME, "w", encoding="utf-8") as file:
        for seq, line in enumerate(lines, 1):
            file.write(json.dumps({"seq": seq, **line}) + "\n")
    rows: list[Metric | JobEvent] = [*steps, *evaluations]
    for cursor, row in enumerate(rows, job.cursor + 1):
        row.pk, row.job, row.cursor = None, job, cursor
    Metric.objects.bulk_create(steps, batch_size=500)
    JobEvent.objects.bulk_create(evaluations, batch_size=500)
    Checkpoint.objects.create(
        job=job,
        step=checkpoint.step,
        path=str(_folder_in(folder, checkpoint.step)),
        size_bytes=checkpoint.size_bytes,
        created_at=checkpoint.created_at,
    )
    measured = {"before" if not e.step else "after": e.facts for e in evaluations}
    last = {name: getattr(steps[-1], name) for name in METRIC_FIELDS} if steps else {}
    Job.objects.filter(pk=job.pk).update(
        step=checkpoint.step,
        last_metrics=last,
        evaluation=measured,
        trainer_seq=len(lines),
        cursor=F("cursor") + len(lines),
    )
    lifecycle.tell(
        job, "branched", message=f"It begins with step {checkpoint.step:,} of '{source.name}'."
    )


def unseed(job: Job) -> None:
    shutil.rmtree(run_dir(job), ignore_errors=True)


def _way_to(checkpoint: Checkpoint, experiment: Experiment) -> tuple[list[Metric], list[JobEvent]]:
    """Where the best checkpoint is kept, an earlier evaluation would name one that is not there."""
    job, step = checkpoint.job, checkpoint.step
    logged = Metric.objects.filter(job=job, step__lte=step, loss__isnull=False)
    told = JobEvent.objects.filter(job=job, event=events.EVALUATION, step__lte=step)
    if experiment.train.get("load_best_model_at_end"):
        told = told.filter(step__in=(0, step))
    return (
        list(curves.thinned(logged.order_by("step"), STEPS_TOLD)),
        list(told.order_by("step")),
    )


def link_tree(source: Path, target: Path) -> None:
    """A copy that takes no room, where source and target are on one disk."""
    half = target.with_name(f"{target.name}.tmp")
    shutil.rmtree(half, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(source, half, copy_function=_link)
    os.rename(half, target)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk, or one without links
        shutil.copy2(source, target)
