"""What people and programs do with jobs: create, start, cancel, pause, resume, retry."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from django.db import transaction
from django.utils import timezone

from accounts.models import Project
from activity import audit
from activity.record import record
from training import (
    checkpoints,
    judging,
    lifecycle,
    outcome,
    preflight,
    run_plan,
    scheduler,
)
from training.lifecycle import IllegalMove
from training.models import FINAL, Checkpoint, Experiment, Job, Status


class PreflightFailed(Exception):
    """The job is refused; ``report`` says why."""

    def __init__(self, report: preflight.Report) -> None:
        super().__init__(" ".join(report.errors))
        self.report = report


def create_job(
    *,
    name: str,
    plan: dict[str, Any],
    actor: Any,
    project_id: uuid.UUID | None,
    metadata: dict[str, Any] | None = None,
    start_it: bool = True,
    also: Callable[[Job], object] | None = None,
) -> Job:
    """Check, write down experiment and job, and put it into the queue unless told not to. ``also``
    is called with the job inside the transaction.

    Returns the job as it was created, PENDING, as the contract shows it; by the time anybody reads
    that it is in the queue. ``plan`` as `judging.complete` takes it, and in ``resume_from`` the
    checkpoint to begin with. Raises PreflightFailed, and then nothing was written.
    """
    begins_with: Checkpoint | None = plan.get("resume_from")
    plan = judging.complete(plan)
    project = Project.objects.get(pk=project_id) if project_id else None
    report = judging.judge(plan, project)
    if not report.ok:
        raise PreflightFailed(report)
    with transaction.atomic(), ExitStack() as undo:
        experiment = Experiment.objects.create(
            project_id=project_id,
            name=name,
            base_model=plan["base_model"],
            dataset=plan["dataset"],
            recipe=plan["recipe"],
            recipe_version=plan["recipe"].version,
            columns=plan["columns"],
            adapters=plan["adapters"],
            train=plan["train"],
            lora=plan["lora"],
            resources=plan["resources"],
            eval=plan["eval"],
            export=plan["export"],
            preflight=report.as_dict(),
            resumed_job=begins_with.job if begins_with else None,
            resumed_step=begins_with.step if begins_with else None,
        )
        job = Job.objects.create(
            project_id=project_id,
            experiment=experiment,
            name=name,
            created_by=actor,
            metadata=metadata or {},
            max_steps=plan["train"].get("max_steps"),
            # Known before the message is sent, so that the answer to the request can carry it.
            celery_task_id=str(uuid.uuid4()),
        )
        if begins_with is not None:
            undo.callback(checkpoints.unseed, job)
            checkpoints.seed(job, begins_with)
        if start_it:
            start(Job.objects.get(pk=job.pk), actor=actor)
        if also is not None:
            also(job)
        record(
            "job_created",
            entity_type="job",
            entity_id=job.pk,
            title=f"Job created: {name}",
            message=f"{plan['recipe']} of {plan['base_model']} on {plan['dataset']}.",
            user=actor,
            project_id=project_id,
            metadata={"job_id": str(job.pk), "job_name": name},
        )
        undo.pop_all()
    return job


@contextmanager
def _noted(job: Job, verb: str, actor: Any) -> Iterator[None]:
    """One transaction for what is done to a job and for the audit entry that says who did it."""
    before = job.status
    with transaction.atomic():
        yield
        audit.note(job, verb, actor=actor, changes={"status": [before, job.status]})


def start(job: Job, *, actor: Any) -> Job:
    """Put a job that was created without a start into the queue."""
    with _noted(job, "start", actor):
        return _enqueue(job, frozenset({Status.PENDING}), "Waits for its turn.")


def resume(job: Job, *, actor: Any) -> Job:
    """Let a paused job go on from its checkpoint."""
    with _noted(job, "resume", actor):
        return _enqueue(job, frozenset({Status.PAUSED}), f"Resumed by {actor}.")


def retry(job: Job, *, actor: Any) -> Job:
    """Let a job that failed or was cancelled go on from its last checkpoint."""
    sources = frozenset({Status.FAILED, Status.CANCELLED})
    with _noted(job, "retry", actor):
        return _enqueue(job, sources, f"Tried again by {actor}.")


def _enqueue(job: Job, sources: frozenset[str], message: str) -> Job:
    attempt = job.attempt
    lifecycle.move(
        job,
        Status.QUEUED,
        attempt=attempt,
        sources=sources,
        message=message,
        queued_at=timezone.now(),
        celery_task_id=job.celery_task_id if attempt == 0 else str(uuid.uuid4()),
        cancel_requested_at=None,
        waiting_reason="",
        worker=None,
        runner_pid=None,
        heartbeat_at=None,
        losses=0,
    )
    Job.objects.filter(pk=job.pk).update(attempt=attempt + 1)
    job.refresh_from_db()
    scheduler.wake()
    return job


def cancel(job: Job, *, actor: Any) -> Job:
    """Stop it. One that is training writes a checkpoint first; its runner then ends it."""
    with _noted(job, "cancel", actor):
        return _cancel(job, actor)


def _cancel(job: Job, actor: Any) -> Job:
    waiting = frozenset({Status.PENDING, Status.QUEUED, Status.PAUSED})
    if job.status in waiting:
        try:
            outcome.cancelled(job, attempt=job.attempt)
            return job
        except IllegalMove:
            job.refresh_from_db()  # it has begun in this very moment
    asked = Job.objects.filter(
        pk=job.pk, status__in=[Status.RUNNING, Status.PAUSING], cancel_requested_at=None
    ).update(cancel_requested_at=timezone.now())
    job.refresh_from_db()
    if asked:
        lifecycle.tell(job, "cancel_requested", message=f"{actor} asked to cancel.")
    elif job.status in FINAL:
        raise IllegalMove(job, Status.CANCELLED)
    return job


def pause(job: Job, *, actor: Any) -> Job:
    """Write a checkpoint and free the devices; `resume` goes on from there."""
    with _noted(job, "pause", actor):
        if job.status == Status.QUEUED:
            lifecycle.move(job, Status.PAUSED, message=f"Paused by {actor}.", waiting_reason="")
            scheduler.release(job)
        else:
            lifecycle.move(
                job,
                Status.PAUSING,
                sources=frozenset({Status.RUNNING}),
                message=f"{actor} asked to pause.",
            )
    return job


class StillOpen(Exception):
    """A job that may still run is not deleted."""

    def __init__(self, job: Job) -> None:
        super().__init__(f"Job '{job.name}' is {job.status}. Cancel it first.")


def delete(job: Job, *, actor: Any) -> None:
    """Remove a job that is over, or that was never started, with its numbers, log and checkpoints.
    What it has made stays in the registry, files and all. Raises StillOpen."""
    with transaction.atomic():
        job = Job.objects.select_for_update().get(pk=job.pk)
        if job.status not in (*FINAL, Status.PENDING):
            raise StillOpen(job)
        folders = [run_plan.run_dir(job)]
        if job.result is None:
            folders.append(run_plan.export_dir(job))
        experiment = job.experiment
        job.delete()
        if not experiment.jobs.exists():
            experiment.delete()
        transaction.on_commit(partial(_remove, folders))


def delete_experiment(experiment: Experiment, *, actor: Any) -> None:
    """Remove it with all its jobs, or nothing of it. Raises StillOpen."""
    with transaction.atomic():
        for job in experiment.jobs.all():
            delete(job, actor=actor)
        # The last job has taken it along, if there was one.
        Experiment.objects.filter(pk=experiment.pk).delete()


def _remove(folders: list[Path]) -> None:
    """What a kill in between leaves belongs to no job, and `registry.garbage` takes it."""
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
