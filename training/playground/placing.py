"""Which device a prompt gets: that of a model that is loaded already, or a free one.

Jobs come first. A device that a waiting job could have is not given to a prompt, and a model that
has it gives it back as soon as its answer is written. Messages are doorbells here, too: one that
is lost is sent again, one that comes twice finds the serving begun.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from activity.live import send_on_commit
from training import quotas, scheduler
from training.models import Device, Generation, Job, Lease, Serving, Status, Worker
from training.playground import generations

SERVE = "training.serve"


@transaction.atomic
def dispatch() -> int:
    """Find a device for the prompts that wait, the oldest first. How many models are to be
    loaded."""
    waiting = waiting_generations()
    if not waiting:
        return 0
    scheduler.one_planner()
    workers = scheduler.workers_by_partition(timezone.now())
    jobs = [job for job in scheduler.waiting_jobs() if _can_ever_run(job, workers)]
    ledger = quotas.Ledger(generation.project for generation in waiting)
    serving = list(Serving.objects.filter(ended_at=None))
    placed = 0
    for generation in waiting:
        if any(one.key == generation.key for one in serving):
            _wait(generation, "Waits for its turn: the model answers other prompts first.")
            continue
        candidates = workers.get(generation.resources["partition_id"], [])
        free = scheduler.fitting(candidates, generation.resources)
        first = next((job for job in jobs if free and could_have(job, free[0], workers)), None)
        if over_quota := ledger.reason(generation.project, generation.resources):
            _wait(generation, over_quota)
        elif first is not None:
            ours = first.project_id == generation.project_id
            name = f"'{first.name}'" if ours else "a job of another project"
            _wait(generation, f"Jobs come first, and {name} waits for the same device.")
        elif free:
            serving.append(_lease(generation, free[0]))
            ledger.take(generation.project, generation.resources)
            placed += 1
        else:
            _wait(generation, _reason(candidates, generation))
    return placed


def waiting_generations() -> list[Generation]:
    """In the order in which they are answered."""
    waiting = Generation.objects.filter(status=Status.QUEUED).select_related("project")
    return list(waiting.order_by("created_at", "pk"))


def somebody_asks() -> bool:
    return Generation.objects.filter(status=Status.QUEUED).exists()


class GiveWay(Exception):
    """Somebody else is to have the device first."""


def next_of(serving: Serving) -> Generation | None:
    """The prompt that it answers next, None where there is none. Raises GiveWay."""
    waiting, jobs = waiting_generations(), scheduler.waiting_jobs()
    if not waiting and not jobs:
        return None
    lease = Lease.objects.select_related("device").filter(serving=serving).first()
    if lease is None:
        raise GiveWay
    workers = scheduler.workers_by_partition(timezone.now())
    if any(_can_ever_run(job, workers) and could_have(job, lease.device, workers) for job in jobs):
        raise GiveWay
    for generation in waiting:
        if generation.key == serving.key:
            return generation
        candidates = workers.get(generation.resources["partition_id"], [])
        if _is_among(lease.device, candidates, generation.resources):
            raise GiveWay  # it came first, and needs another model
    return None


def _can_ever_run(job: Job, workers: dict[str | None, list[Worker]]) -> bool:
    """One that asks for more than there is must not keep a device from everybody."""
    resources = job.experiment.resources
    needed = max(int(resources.get("gpus") or 0), 1)
    candidates = workers.get(scheduler.partition_of(job), [])
    return any(len(scheduler.matching(one, resources)) >= needed for one in candidates)


def could_have(job: Job, device: Device, workers: dict[str | None, list[Worker]]) -> bool:
    candidates = workers.get(scheduler.partition_of(job), [])
    return _is_among(device, candidates, job.experiment.resources)


def _is_among(device: Device, candidates: list[Worker], resources: dict[str, Any]) -> bool:
    return any(device in scheduler.matching(worker, resources) for worker in candidates)


def _lease(generation: Generation, device: Device) -> Serving:
    serving = Serving.objects.create(worker=device.worker, **generation.key)
    device.lease = Lease.objects.create(device=device, serving=serving, sent_at=timezone.now())
    _wait(generation, "")
    _send(serving)
    return serving


def _send(serving: Serving) -> None:
    assert serving.worker is not None
    send_on_commit(SERVE, args=[str(serving.pk)], queue=serving.worker.queue, ignore_result=True)


def _wait(generation: Generation, reason: str) -> None:
    reason = reason[:300]
    if generation.waiting_reason != reason:
        waiting = Generation.objects.filter(pk=generation.pk, status=Status.QUEUED)
        generations.move(waiting, waiting_reason=reason)


def _reason(workers: list[Worker], generation: Generation) -> str:
    what = scheduler.describe(generation.resources)
    if not workers:
        return "No worker of this partition is running. It is answered when one comes."
    there = [one for worker in workers for one in scheduler.matching(worker, generation.resources)]
    if not there:
        return f"Waits for {what}: no worker that is running now has that."
    return f"Waits for {what}: {scheduler.who_is_there(there, generation.project_id)} there now."


# --- What was lost --------------------------------------------------------------------------------


def reconcile() -> None:
    """Of every few seconds: find what has been lost and set it going again."""
    now = timezone.now()
    cutoff = now - timedelta(seconds=settings.TRAINYARD_LEASE_SECONDS)
    running = Serving.objects.filter(ended_at=None)
    for serving in running.filter(heartbeat_at__lt=cutoff):
        lose(serving, "Nothing was heard of its worker any more.")
    for serving in running.filter(started_at=None, worker__seen_at__lt=cutoff):
        end(serving)  # nobody has begun: its prompts wait for another one
    _resend(running.filter(started_at=None), now)
    dispatch()


@transaction.atomic
def _resend(servings: Any, now: datetime) -> None:
    overdue = now - timedelta(seconds=scheduler.RESEND_AFTER_SECONDS)
    leases = Lease.objects.filter(serving__in=servings, sent_at__lt=overdue)
    for lease in leases.select_related("serving__worker"):
        Lease.objects.filter(pk=lease.pk).update(sent_at=now)
        if lease.serving is not None and lease.serving.worker is not None:
            _send(lease.serving)


def reap_of_earlier_boots(worker: Worker) -> None:
    """A worker has started anew: whatever it was running before has died with it."""
    for serving in Serving.objects.filter(worker=worker, ended_at=None).exclude(started_at=None):
        lose(serving, "Its worker was started anew.")


def reap_of_dead_runners(worker: Worker, alive: set[int]) -> None:
    """Models whose process on this worker's machine has gone without a word."""
    here = Serving.objects.filter(worker=worker, ended_at=None).exclude(runner_pid=None)
    for serving in here:
        if serving.runner_pid not in alive:
            lose(serving, "Its worker process died.")


@transaction.atomic
def lose(serving: Serving, why: str) -> None:
    """Give back the device; the prompt that was being answered has failed."""
    if not end(serving):
        return
    generations.fail(
        Generation.objects.filter(serving=serving, status=Status.RUNNING),
        kind="lost_worker",
        message=f"The answer was lost. {why}",
        advice="Ask again.",
    )


@transaction.atomic
def end(serving: Serving) -> bool:
    """Give back the device. False where somebody else was faster."""
    ended = Serving.objects.filter(pk=serving.pk, ended_at=None).update(ended_at=timezone.now())
    if ended:
        quotas.give_back(Lease.objects.filter(serving=serving))
        scheduler.wake()
    return bool(ended)


def forget_old() -> int:
    """Remove prompts that are older than TRAINYARD_PLAYGROUND_DAYS; how many there were."""
    cutoff = timezone.now() - timedelta(days=settings.TRAINYARD_PLAYGROUND_DAYS)
    return Generation.objects.filter(finished_at__lt=cutoff).delete()[0]
