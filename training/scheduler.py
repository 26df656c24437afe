"""Which waiting job gets which devices, and why the others wait.

`dispatch` plans under one lock and writes leases; the workers are told after commit. A message that
is lost is sent again by `resend`, one that comes twice finds the job already running.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Prefetch
from django.utils import timezone

from activity.live import push_on_commit, send_on_commit
from training import quotas
from training.lifecycle import group_of
from training.models import Device, Job, Lease, Partition, Status, Worker
from training.preflight.hardware import same_card

RUN_JOB = "training.run_job"
DISPATCH = "training.dispatch"
RESEND_AFTER_SECONDS = 4
ANSWERING = ("base_model", "tuned_model", "adapter")


def wake() -> None:
    """Have `dispatch` run on some worker, after commit. A lost message is made good by the
    reconciler within seconds."""
    send_on_commit(DISPATCH, ignore_result=True)


@transaction.atomic
def dispatch() -> int:
    """Give free devices to the jobs that wait, by priority and age. How many were placed."""
    now = timezone.now()
    one_planner()
    waiting = waiting_jobs()
    if not waiting:
        return 0
    workers = workers_by_partition(now)
    ledger = quotas.Ledger(job.project for job in waiting)
    placed = 0
    for job in waiting:
        candidates = workers.get(partition_of(job), [])
        resources = job.experiment.resources
        if over_quota := ledger.reason(job.project, resources):
            _wait(job, over_quota)
        elif devices := fitting(candidates, resources):
            _lease(job, devices, now)
            ledger.take(job.project, resources)
            placed += 1
        else:
            _wait(job, _reason(candidates, job))
    return placed


def one_planner() -> None:
    """Whoever gives devices away does it alone, until the transaction ends."""
    list(Partition.objects.select_for_update().order_by("pk"))


def waiting_jobs() -> list[Job]:
    """For devices, in the order in which they get them."""
    return list(
        Job.objects.filter(status=Status.QUEUED, leases=None, cancel_requested_at=None)
        .select_related("experiment", "project")
        .order_by("-priority", "queued_at", "pk")
    )


def partition_of(job: Job) -> str | None:
    """The partition's id as the experiment names it; None means the default one."""
    partition_id: str | None = job.experiment.resources.get("partition_id")
    return partition_id


def workers_by_partition(now: datetime) -> dict[str | None, list[Worker]]:
    """The live workers with their devices and who has them; under None those of the default
    partition once more."""
    fresh = now - timedelta(seconds=settings.TRAINYARD_LEASE_SECONDS)
    owners = ("lease__job", *(f"lease__serving__{what}" for what in ANSWERING))
    devices = Device.objects.select_related("lease", *owners)
    grouped: dict[str | None, list[Worker]] = defaultdict(list)
    workers = Worker.objects.filter(seen_at__gt=fresh).select_related("partition")
    for worker in workers.prefetch_related(Prefetch("devices", queryset=devices)):
        grouped[str(worker.partition_id)].append(worker)
        if worker.partition.name == "default":
            grouped[None].append(worker)
    return grouped


def matching(worker: Worker, resources: dict[str, Any]) -> list[Device]:
    """The devices of a worker that are of the kind a job asks for, free or not."""
    if not resources.get("gpus"):
        return [device for device in worker.devices.all() if device.kind == Device.Kind.CPU]
    wanted = resources.get("gpu_type")
    together = int(resources["gpus"]) > 1  # which slices of cards cannot work
    return [
        device
        for device in worker.devices.all()
        if device.kind == Device.Kind.CUDA
        and (not wanted or same_card(device.gpu_type, wanted))
        and not (together and device.card_index is not None)
    ]


def fitting(workers: list[Worker], resources: dict[str, Any]) -> list[Device]:
    """As many free devices as the job needs, on the worker that keeps the fewest others free."""
    needed = max(int(resources.get("gpus") or 0), 1)
    found = []
    for worker in workers:
        free = [device for device in matching(worker, resources) if not hasattr(device, "lease")]
        if len(free) >= needed:
            found.append(free)
    best = min(found, key=len, default=[])
    return best[:needed]


def _lease(job: Job, devices: list[Device], now: datetime) -> None:
    for device in devices:
        device.lease = Lease.objects.create(
            device=device, job=job, attempt=job.attempt, sent_at=now
        )
    worker = devices[0].worker
    Job.objects.filter(pk=job.pk).update(worker=worker, waiting_reason="")
    _send(job, worker)


def _send(job: Job, worker: Worker) -> None:
    send_on_commit(
        RUN_JOB,
        args=[str(job.pk), job.attempt],
        queue=worker.queue,
        task_id=job.celery_task_id or str(uuid.uuid4()),
    )


def _wait(job: Job, reason: str) -> None:
    reason = reason[:300]
    if job.waiting_reason != reason:
        Job.objects.filter(pk=job.pk).update(waiting_reason=reason)
        push_on_commit(group_of(job.pk), "job.changed")


def _reason(workers: list[Worker], job: Job) -> str:
    """A sentence for people. It names no job of another project."""
    resources = job.experiment.resources
    needed = max(int(resources.get("gpus") or 0), 1)
    what = describe(resources)
    if not workers:
        return "No worker of this partition is running. The job starts when one comes."
    there = [device for worker in workers for device in matching(worker, resources)]
    if len(there) < needed:
        return f"Waits for {what}: no worker that is running now has that."
    return f"Waits for {what}: {who_is_there(there, job.project_id)} there now."


def who_is_there(devices: list[Device], project_id: uuid.UUID | None) -> str:
    """ "'a job' runs", "'a job', 'another' … run": what has these devices, as that project may
    know it."""
    busy = {device.lease.of for device in devices if hasattr(device, "lease")}
    names = sorted(f"'{one}'" for one in busy if one.project_id == project_id)
    if len(names) < len(busy):
        names.append("work of another project")
    shown = ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
    return f"{shown} {'runs' if len(names) == 1 else 'run'}"


def describe(resources: dict[str, Any]) -> str:
    """ "the CPU", "1 GPU", "2 GPUs (h100-sxm)"."""
    gpus = int(resources.get("gpus") or 0)
    if not gpus:
        return "the CPU"
    kind = f" ({resources['gpu_type']})" if resources.get("gpu_type") else ""
    return f"{gpus} GPU{'s' if gpus > 1 else ''}{kind}"


@transaction.atomic
def resend() -> int:
    """Tell workers again of leases that they have not acted on. How many."""
    now = timezone.now()
    overdue = Lease.objects.filter(
        job__status=Status.QUEUED, sent_at__lt=now - timedelta(seconds=RESEND_AFTER_SECONDS)
    )
    jobs = {lease.job for lease in overdue.select_related("job__worker")}
    for job in filter(None, jobs):
        Lease.objects.filter(job=job).update(sent_at=now)
        if job.worker is not None:
            _send(job, job.worker)
    return len(jobs)


def release(job: Job) -> None:
    """Free the job's devices, inside the transaction in which it stops using them, and look after
    commit who comes next."""
    quotas.give_back(Lease.objects.filter(job=job))
    wake()
