"""What becomes of a job when its trainer has ended.

Each ending is one transaction: the move, the freed devices, what is registered, and the line in the
feed come together or not at all.
"""

from __future__ import annotations

import logging
import uuid
from functools import partial
from pathlib import Path
from typing import Any

from django.db import transaction
from django.utils import timezone

from activity.record import record
from registry import code_reviews, inspect, storage, store
from registry import results as registry
from registry.models import Adapter, BaseModel
from training import lifecycle, measurements, probes, scheduler
from training.models import ACTIVE, Artifact, Job, Probe, Status
from training.progress import take_over
from training.trainer import events, spec
from training.trainer import result as results

log = logging.getLogger(__name__)

# A job that is lost this often without having come further would only be lost again.
MOST_LOSSES = 3
OUT_OF_MEMORY = ("out_of_memory", "host_memory")


def completed(job: Job, attempt: int, ending: results.Result) -> None:
    """Register what the run has made. Reading and hashing it comes before the transaction."""
    if job.is_probe:
        probed(job, attempt)
        return
    folder = Path(ending.exports["safetensors"])
    still_here = partial(take_over, job, attempt, [], None)  # hashing may take longer than a lease
    files = {
        kind: storage.manifest(Path(place), still_here) for kind, place in ending.exports.items()
    }
    artifacts = [
        Artifact(
            job=job,
            kind=kind,
            path=str(Path(ending.exports[kind]) / name),
            size_bytes=facts["size"],
            sha256=facts["sha256"],
        )
        for kind, manifest in files.items()
        for name, facts in sorted(manifest.items())
    ]
    experiment = job.experiment
    adapts = spec.uses_adapter(experiment.recipe.method, spec.TrainSpec(**experiment.train))
    still_here()
    inspected = None if adapts else inspect.model_folder(folder, code_reviews.approves)
    with transaction.atomic():
        measurements.keep(job, attempt)
        lifecycle.move(
            job,
            Status.COMPLETED,
            attempt=attempt,
            step=ending.step,
            waiting_reason="",
            message=_all_done(job, ending),
        )
        Artifact.objects.filter(job=job).delete()
        Artifact.objects.bulk_create(artifacts)
        entry = _register(job, folder, inspected, files["safetensors"])
        kind = "adapter" if isinstance(entry, Adapter) else "base_model"
        job.result = {"kind": kind, "id": str(entry.pk), "name": entry.name}
        Job.objects.filter(pk=job.pk).update(result=job.result)
        for kind in files.keys() - {"safetensors"}:  # that one is kept as the entry's own
            keep = partial(store.adopt, Path(ending.exports[kind]), files[kind])
            transaction.on_commit(keep, robust=True)
        scheduler.release(job)
        _tell(
            job,
            "job_completed",
            "success",
            f"Training completed: {job.name}",
            f"Successfully completed training job in {duration(job)}",
            result_id=str(entry.pk),
            duration_seconds=_seconds(job),
        )


@transaction.atomic
def probed(job: Job, attempt: int) -> None:
    """A probe has measured what it should."""
    measurements.keep(job, attempt)
    lifecycle.move(job, Status.COMPLETED, attempt=attempt, waiting_reason="")
    probes.end(job, Probe.Outcome.MEASURED)
    scheduler.release(job)


def _all_done(job: Job, ending: results.Result) -> str:
    """With the exports that were asked for and could not be made."""
    text = "All steps done; the result is registered."
    failed = job.events.filter(event=events.EXPORT_FAILED).values_list("facts__kind", flat=True)
    missing = [kind for kind in failed if kind not in ending.exports]
    return f"{text} Not exported: {', '.join(missing)}." if missing else text


def _register(
    job: Job, folder: Path, inspected: inspect.Inspected | None, files: storage.Manifest
) -> BaseModel | Adapter:
    """The base model or adapter that a run has made, with where it comes from."""
    experiment = job.experiment
    lineage = {
        "job_id": str(job.pk),
        "job_name": job.name,
        "experiment_id": str(experiment.pk),
        "base_model_id": str(experiment.base_model_id),
        "dataset_id": str(experiment.dataset_id),
        "dataset_checksum": experiment.dataset.checksum,
        "method": experiment.recipe.method,
        "evaluation": job.evaluation,
    }
    if inspected is not None:
        return registry.create_trained_model(
            name=job.name,
            project_id=job.project_id,
            base_model=experiment.base_model,
            storage_path=str(folder),
            inspected=inspected,
            metadata=lineage,
            user=job.created_by,
            files=files,
        )
    lora = spec.LoraSpec(**experiment.lora)
    card = folder / "README.md"
    return registry.create_trained_adapter(
        name=job.name,
        project_id=job.project_id,
        base_model=experiment.base_model,
        method=experiment.recipe.method,
        storage_path=str(folder),
        size_bytes=storage.total_size(files),
        checksum=storage.checksum(files),
        r=lora.r,
        lora_alpha=lora.lora_alpha,
        target_modules=lora.target_modules,
        metadata=lineage,
        model_card=card.read_text(encoding="utf-8") if card.exists() else "",
        user=job.created_by,
        files=files,
    )


@transaction.atomic
def failed(job: Job, attempt: int, failure: results.Failure) -> None:
    if failure.kind not in OUT_OF_MEMORY:  # what it would have taken, nobody knows
        measurements.keep(job, attempt)
    lifecycle.move(
        job,
        Status.FAILED,
        attempt=attempt,
        waiting_reason="",
        message=failure.message,
        failure={"kind": failure.kind, "message": failure.message, "advice": failure.advice},
    )
    if job.is_probe:
        no_room = failure.kind in OUT_OF_MEMORY
        outcome = Probe.Outcome.OUT_OF_MEMORY if no_room else Probe.Outcome.FAILED
        probes.end(job, outcome, job.failure)
    scheduler.release(job)
    _tell(
        job,
        "job_failed",
        "error",
        f"Training failed: {job.name}",
        f"{failure.message} {failure.advice}",
        failure_kind=failure.kind,
    )


@transaction.atomic
def stopped(job: Job, attempt: int) -> None:
    """The trainer has written its checkpoint and gone because it was asked to."""
    job.refresh_from_db()
    if job.cancel_requested_at:
        cancelled(job, attempt=attempt)
    elif job.status == Status.PAUSING:
        measurements.keep(job, attempt)
        lifecycle.move(
            job, Status.PAUSED, attempt=attempt, message="Paused; the devices are free for others."
        )
        scheduler.release(job)
        _tell(job, "job_paused", "info", f"Training paused: {job.name}", f"At step {job.step}.")
    else:
        requeue(job, attempt, "Its worker is going down; it goes on when one is back.")


@transaction.atomic
def cancelled(job: Job, attempt: int | None = None) -> None:
    measurements.keep(job, job.attempt if attempt is None else attempt)
    lifecycle.move(job, Status.CANCELLED, attempt=attempt, waiting_reason="", message="Cancelled.")
    if job.is_probe:
        probes.end(job, Probe.Outcome.CANCELLED)
    scheduler.release(job)
    _tell(
        job,
        "job_cancelled",
        "warning",
        f"Training cancelled: {job.name}",
        f"Stopped at step {job.step}." if job.step else "Stopped before its first step.",
    )


@transaction.atomic
def requeue(job: Job, attempt: int, why: str, event: str = "requeued") -> None:
    """Back into the queue as the next attempt; it goes on from its last checkpoint."""
    measurements.keep(job, attempt)
    if job.status == Status.PAUSING:  # it has stopped, though not as gently as asked
        lifecycle.move(job, Status.PAUSED, attempt=attempt, message=why)
        scheduler.release(job)
        return
    lifecycle.move(
        job,
        Status.QUEUED,
        attempt=attempt,
        sources=frozenset({Status.RUNNING}),
        event=event,
        message=why,
        celery_task_id=str(uuid.uuid4()),
        worker=None,
        runner_pid=None,
        heartbeat_at=None,
    )
    Job.objects.filter(pk=job.pk).update(attempt=attempt + 1)
    job.refresh_from_db()
    scheduler.release(job)


@transaction.atomic
def lost(
    job: Job, attempt: int, why: str, *, kind: str = "lost_worker", event: str = "requeued"
) -> None:
    """The attempt has come to nothing, and not through its own fault. Try again, but not for ever:
    then it fails with this ``kind``."""
    job.refresh_from_db()
    if job.attempt != attempt or job.status not in ACTIVE:
        return
    if job.cancel_requested_at:
        cancelled(job, attempt=attempt)
        return
    came_further = job.step > job.lost_at_step
    losses = 1 if came_further else job.losses + 1
    Job.objects.filter(pk=job.pk).update(losses=losses, lost_at_step=job.step)
    if losses > MOST_LOSSES:
        failed(
            job,
            attempt,
            results.Failure(
                kind=kind,
                message=f"{why} That was the {losses}th time in a row without any progress.",
                advice="Look into the job's log and the worker's; then retry the job.",
            ),
        )
        return
    log.warning("job %s, attempt %s: %s", job.pk, attempt, why)
    requeue(job, attempt, why, event)


def _tell(job: Job, event_type: str, status: str, title: str, message: str, **facts: Any) -> None:
    """In the feed. Who has asked for a probe waits for its answer, and nobody else for its news."""
    if job.is_probe:
        return
    record(
        event_type,
        entity_type="job",
        entity_id=job.pk,
        title=title,
        message=message,
        status=status,
        user=job.created_by,
        project_id=job.project_id,
        metadata={"job_id": str(job.pk), "job_name": job.name, **facts},
    )


def _seconds(job: Job) -> int:
    began = job.started_at or job.created_at
    return round(((job.finished_at or timezone.now()) - began).total_seconds())


def duration(job: Job) -> str:
    """ "2h 34m", "3m 5s", "12s"."""
    seconds = _seconds(job)
    hours, minutes = seconds // 3600, seconds // 60 % 60
    if hours:
        return f"{hours}h {minutes}m"
    if minutes:
        return f"{minutes}m {seconds % 60}s"
    return f"{seconds}s"
