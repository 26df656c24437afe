"""Finds what has been lost and sets it going again. Runs every few seconds, harmless doubled."""

from __future__ import annotations

import logging
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from training import outcome, probes, quotas, scheduler
from training.lifecycle import IllegalMove
from training.models import ACTIVE, Job, Lease, Status, Worker

log = logging.getLogger(__name__)


def reconcile() -> None:
    reap_lost_jobs()
    free_dead_leases()
    probes.sweep()
    scheduler.resend()
    scheduler.dispatch()


def reap_lost_jobs() -> None:
    """Jobs said to be running of which nothing has been heard for a lease."""
    cutoff = timezone.now() - timedelta(seconds=settings.TRAINYARD_LEASE_SECONDS)
    silent = Job.objects.filter(status__in=ACTIVE).filter(
        Q(heartbeat_at__lt=cutoff) | Q(heartbeat_at=None)
    )
    for job in silent:
        _lose(job, "Nothing was heard of its worker any more.")


@transaction.atomic
def free_dead_leases() -> None:
    """Devices given to a waiting job on a worker that has gone, or to a job that has ended."""
    cutoff = timezone.now() - timedelta(seconds=settings.TRAINYARD_LEASE_SECONDS)
    dead = Q(job__status=Status.QUEUED, device__worker__seen_at__lt=cutoff)
    ended = Q(job__isnull=False) & ~Q(job__status__in=[Status.QUEUED, *ACTIVE])
    quotas.give_back(Lease.objects.filter(dead | ended))


def reap_jobs_of_earlier_boots(worker: Worker) -> None:
    """A worker has started anew: whatever it was running before has died with it."""
    for job in Job.objects.filter(worker=worker, status__in=ACTIVE):
        _lose(job, "Its worker was started anew.")


def reap_jobs_of_dead_runners(worker: Worker, alive: set[int]) -> None:
    """Jobs whose process on this worker's machine has gone without a word."""
    for job in Job.objects.filter(worker=worker, status__in=ACTIVE).exclude(runner_pid=None):
        if job.runner_pid not in alive:
            _lose(job, "Its worker process died.")


def _lose(job: Job, why: str) -> None:
    try:
        outcome.lost(job, job.attempt, why)
    except IllegalMove as error:
        log.info("already seen to: %s", error)
