"""Celery's side: each task finds its rows and calls the code that does the work."""

from __future__ import annotations

import logging

from celery import shared_task
from celery.exceptions import Ignore
from django.conf import settings
from django.db import DatabaseError, InterfaceError, transaction
from django.utils import timezone

from activity.record import record
from training import lifecycle, outcome, probes, reconciler, runner, scheduler, standby, workers
from training.models import Job, Lease, Serving, Status
from training.playground import placing, serving
from training.trainer import result
from training.wizard import expiry

log = logging.getLogger(__name__)


@shared_task(name=scheduler.RUN_JOB)
def run_job(job_id: str, attempt: int) -> str:
    """Train. The message is only a doorbell: it may come late, twice or never.

    Leaves no result where this attempt is somebody else's or over (Ignore).
    """
    try:
        job = Job.objects.with_everything().get(pk=job_id)
    except Job.DoesNotExist as error:  # of a probe that is over
        raise Ignore from error
    try:
        claim(job, attempt)
    except lifecycle.IllegalMove as error:
        log.info("a second message for job %s, attempt %s: %s", job_id, attempt, error)
        raise Ignore from error
    try:
        return runner.run(job, attempt, workers.going_down.is_set)
    except (DatabaseError, InterfaceError):
        # Nothing is lost: the reconciler takes the job up again from its last checkpoint.
        log.exception("job %s, attempt %s: the database does not answer", job_id, attempt)
        raise
    except Exception as error:
        log.exception("job %s, attempt %s: the runner broke", job_id, attempt)
        outcome.failed(job, attempt, _our_own_fault(error))
        raise
    finally:
        if job.is_probe:
            probes.tidy(job)
        if not workers.going_down.is_set():
            standby.keeper.replace()


@transaction.atomic
def claim(job: Job, attempt: int) -> None:
    """QUEUED to RUNNING, once for each attempt.

    Raises IllegalMove for whoever comes second, and for a worker whose lease was given to another
    while it was away.
    """
    first_time = job.started_at is None
    now = timezone.now()
    lifecycle.move(
        job,
        Status.RUNNING,
        attempt=attempt,
        sources=frozenset({Status.QUEUED}),
        started_at=job.started_at or now,
        heartbeat_at=now,
        waiting_reason="",
        message=f"Started on {settings.TRAINYARD_WORKER}.",
    )
    ours = Lease.objects.filter(
        job=job, attempt=attempt, device__worker__name=settings.TRAINYARD_WORKER
    )
    if not ours.exists():
        raise lifecycle.IllegalMove(job, Status.RUNNING)
    if first_time and not job.is_probe:
        record(
            "job_started",
            entity_type="job",
            entity_id=job.pk,
            title=f"Training started: {job.name}",
            user=job.created_by,
            project_id=job.project_id,
            metadata={"job_id": str(job.pk), "job_name": job.name},
        )


def _our_own_fault(error: Exception) -> result.Failure:
    return result.Failure(
        kind="bug",
        message=f"The platform failed around the training: {type(error).__name__}: {error}",
        advice="The worker's log has the details. Retrying goes on from the last checkpoint.",
    )


@shared_task(name=scheduler.DISPATCH, ignore_result=True)
def dispatch() -> None:
    scheduler.dispatch()
    placing.dispatch()


@shared_task(name=placing.SERVE, ignore_result=True)
def serve(serving_id: str) -> None:
    """Answer prompts. The message is only a doorbell, as that of a job."""
    found = Serving.objects.select_related("worker", "base_model", "tuned_model", "adapter")
    try:
        serving.serve(found.get(pk=serving_id), workers.going_down.is_set)
    except Serving.DoesNotExist as error:
        raise Ignore from error
    finally:
        if not workers.going_down.is_set():
            standby.keeper.replace()


@shared_task(name="training.reconcile", ignore_result=True)
def reconcile() -> None:
    reconciler.reconcile()
    placing.reconcile()


@shared_task(name="training.forget_old_drafts", ignore_result=True)
def forget_old_drafts() -> None:
    expiry.forget_old()


@shared_task(name="training.forget_old_generations", ignore_result=True)
def forget_old_generations() -> None:
    placing.forget_old()
