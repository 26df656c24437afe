"""The message is a doorbell: late, doubled or for somebody else, it harms nothing."""

from __future__ import annotations

from typing import Any

import pytest
from celery.exceptions import Ignore
from django.conf import settings
from django.db import OperationalError

from activity.models import Activity
from tests.factories import make_job, make_lease, make_worker
from training import runner, tasks
from training.lifecycle import IllegalMove
from training.models import Job, Status, Worker

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sent")]


@pytest.fixture
def here() -> Worker:
    return make_worker(settings.TRAINYARD_WORKER)


@pytest.fixture
def leased(here: Worker) -> Job:
    job = make_job(status=Status.QUEUED, attempt=1, worker=here)
    make_lease(job, here.devices.get())
    return job


def test_a_claim_starts_the_job_and_tells_of_it_once(leased: Job) -> None:
    tasks.claim(leased, 1)
    assert (leased.status, leased.started_at is not None) == (Status.RUNNING, True)
    assert Activity.objects.get().event_type == "job_started"


def test_the_second_message_changes_nothing(leased: Job) -> None:
    tasks.claim(leased, 1)
    with pytest.raises(IllegalMove):
        tasks.claim(Job.objects.get(pk=leased.pk), 1)
    with pytest.raises(Ignore):
        tasks.run_job(str(leased.pk), 1)
    assert Activity.objects.count() == 1


def test_a_message_for_an_earlier_attempt_changes_nothing(leased: Job) -> None:
    Job.objects.update(attempt=2)
    with pytest.raises(Ignore):
        tasks.run_job(str(leased.pk), 1)
    assert Job.objects.get().status == Status.QUEUED


def test_a_worker_that_was_away_does_not_take_what_was_given_to_another(here: Worker) -> None:
    other = make_worker("other")
    job = make_job(status=Status.QUEUED, attempt=1, worker=other)
    make_lease(job, other.devices.get())
    with pytest.raises(Ignore):
        tasks.run_job(str(job.pk), 1)
    assert Job.objects.get().status == Status.QUEUED


def test_a_fault_of_ours_fails_the_job_and_is_not_swallowed(
    leased: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*args: Any) -> str:
        raise RuntimeError("the floor gave way")

    monkeypatch.setattr(runner, "run", breaks)
    with pytest.raises(RuntimeError):
        tasks.run_job(str(leased.pk), 1)
    leased.refresh_from_db()
    assert leased.failure is not None
    assert leased.failure["kind"] == "bug"
    assert "the floor gave way" in leased.failure["message"]


def test_a_database_that_is_away_does_not_fail_the_job(
    leased: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*args: Any) -> str:
        raise OperationalError("server closed the connection")

    monkeypatch.setattr(runner, "run", breaks)
    with pytest.raises(OperationalError):
        tasks.run_job(str(leased.pk), 1)
    leased.refresh_from_db()
    assert leased.status == Status.RUNNING  # until the reconciler misses its heartbeat
