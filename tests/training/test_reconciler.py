"""What has been lost is found and set going again, but not for ever."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from tests.factories import make_job, make_lease, make_worker
from training import outcome, reconciler
from training.models import Job, JobEvent, Lease, Status

pytestmark = pytest.mark.django_db
LONG_AGO = timedelta(hours=1)


def running(**fields: object) -> Job:
    worker = make_worker()
    job = make_job(status=Status.RUNNING, worker=worker, **fields)  # type: ignore[arg-type]
    make_lease(job, worker.devices.get())
    return job


def test_a_job_nobody_speaks_for_is_queued_again_as_the_next_attempt() -> None:
    job = running(heartbeat_at=timezone.now() - LONG_AGO)
    reconciler.reap_lost_jobs()
    job.refresh_from_db()
    assert (job.status, job.attempt, job.losses) == (Status.QUEUED, 2, 1)
    assert not Lease.objects.exists()
    assert JobEvent.objects.get().event == "requeued"


def test_a_job_that_is_heard_of_is_left_alone() -> None:
    job = running()
    reconciler.reap_lost_jobs()
    job.refresh_from_db()
    assert job.status == Status.RUNNING


def test_a_job_lost_again_and_again_without_progress_fails() -> None:
    job = running(losses=outcome.MOST_LOSSES, step=5, lost_at_step=5)
    outcome.lost(job, 1, "Its worker process died.")
    job.refresh_from_db()
    assert job.status == Status.FAILED
    assert job.failure is not None
    assert job.failure["kind"] == "lost_worker"
    assert "4th time in a row without any progress" in job.failure["message"]


def test_progress_between_two_losses_counts_as_a_new_start() -> None:
    job = running(losses=outcome.MOST_LOSSES, step=6, lost_at_step=5)
    outcome.lost(job, 1, "Its worker process died.")
    job.refresh_from_db()
    assert (job.status, job.losses) == (Status.QUEUED, 1)


def test_a_lost_job_that_was_to_be_cancelled_is_cancelled() -> None:
    job = running(cancel_requested_at=timezone.now(), heartbeat_at=timezone.now() - LONG_AGO)
    reconciler.reap_lost_jobs()
    job.refresh_from_db()
    assert job.status == Status.CANCELLED
    assert not Lease.objects.exists()


def test_a_lost_job_that_was_to_be_paused_is_paused() -> None:
    job = running(heartbeat_at=timezone.now() - LONG_AGO)
    Job.objects.update(status=Status.PAUSING)
    reconciler.reap_lost_jobs()
    job.refresh_from_db()
    assert job.status == Status.PAUSED


def test_a_worker_that_starts_anew_gives_back_what_it_was_running() -> None:
    job = running()
    assert job.worker is not None
    reconciler.reap_jobs_of_earlier_boots(job.worker)
    job.refresh_from_db()
    assert (job.status, job.attempt) == (Status.QUEUED, 2)


def test_only_the_job_whose_process_has_died_is_lost() -> None:
    worker = make_worker(gpus=2)
    dead = make_job(status=Status.RUNNING, worker=worker, runner_pid=4001)
    alive = make_job(status=Status.RUNNING, worker=worker, runner_pid=4002)
    starting = make_job(status=Status.RUNNING, worker=worker, runner_pid=None)
    reconciler.reap_jobs_of_dead_runners(worker, {4002})
    statuses = [Job.objects.get(pk=job.pk).status for job in (dead, alive, starting)]
    assert statuses == [Status.QUEUED, Status.RUNNING, Status.RUNNING]


def test_a_device_given_to_a_worker_that_has_gone_is_free_again() -> None:
    worker = make_worker(seen_at=timezone.now() - LONG_AGO)
    make_lease(make_job(status=Status.QUEUED), worker.devices.get())
    reconciler.free_dead_leases()
    assert not Lease.objects.exists()
