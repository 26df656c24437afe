"""Every legal move works, every other pair is refused, and the database agrees."""

from __future__ import annotations

import itertools
import threading
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from tests.factories import OUT_OF_MEMORY, make_job
from training import lifecycle
from training.lifecycle import MOVES, IllegalMove
from training.models import FINAL, Job, JobEvent, Status

pytestmark = pytest.mark.django_db

PAIRS = list(itertools.product(Status.values, repeat=2))


def needed(to: str) -> dict[str, Any]:
    return {"failure": OUT_OF_MEMORY} if to == Status.FAILED else {}


@pytest.mark.parametrize(("source", "to"), [p for p in PAIRS if p[1] in MOVES[p[0]]])
def test_a_legal_move_works_and_is_written_down(source: str, to: str) -> None:
    job = make_job(status=source)
    lifecycle.move(job, to, message="why", **needed(to))
    assert job.status == to
    assert (job.finished_at is not None) == (to in FINAL)
    event = JobEvent.objects.get(job=job)
    assert (event.event, event.message, event.cursor) == (to.lower(), "why", job.cursor)


@pytest.mark.parametrize(("source", "to"), [p for p in PAIRS if p[1] not in MOVES[p[0]]])
def test_any_other_move_is_refused_and_changes_nothing(source: str, to: str) -> None:
    job = make_job(status=source)
    before = Job.objects.values().get(pk=job.pk)
    with pytest.raises(IllegalMove, match=f"is {source} and cannot become {to}"):
        lifecycle.move(job, to, **needed(to))
    assert Job.objects.values().get(pk=job.pk) == before
    assert not JobEvent.objects.exists()


def test_an_earlier_attempt_cannot_end_the_job() -> None:
    job = make_job(status=Status.RUNNING, attempt=2)
    with pytest.raises(IllegalMove):
        lifecycle.move(job, Status.COMPLETED, attempt=1)
    lifecycle.move(job, Status.COMPLETED, attempt=2)


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": "DREAMING"},
        {"status": Status.RUNNING, "finished_at": "2026-01-01T00:00:00Z"},
        {"status": Status.COMPLETED, "finished_at": None},
        {"status": Status.FAILED, "finished_at": "2026-01-01T00:00:00Z", "failure": None},
        {"status": Status.QUEUED, "failure": OUT_OF_MEMORY},
    ],
)
def test_the_database_refuses_states_that_cannot_be(wrong: dict[str, Any]) -> None:
    job = make_job()
    with pytest.raises(IntegrityError), transaction.atomic():
        Job.objects.filter(pk=job.pk).update(**wrong)


@pytest.mark.django_db(transaction=True)
def test_of_two_who_start_the_same_job_at_once_one_wins() -> None:
    job = make_job(status=Status.QUEUED, attempt=1)
    gate = threading.Barrier(8)
    outcomes: list[str] = []

    def claim() -> None:
        mine = Job.objects.get(pk=job.pk)
        gate.wait()
        try:
            lifecycle.move(mine, Status.RUNNING, attempt=1)
            outcomes.append("won")
        except IllegalMove:
            outcomes.append("lost")
        finally:
            connection.close()

    threads = [threading.Thread(target=claim) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["lost"] * 7 + ["won"]
    assert JobEvent.objects.filter(job=job).count() == 1


@pytest.mark.django_db(transaction=True)
def test_pages_are_told_only_after_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    rung: list[str] = []
    monkeypatch.setattr("activity.live.push", lambda group, kind, **facts: rung.append(group))
    job = make_job()
    with transaction.atomic():
        lifecycle.move(job, Status.QUEUED)
        assert rung == []
    assert rung == [lifecycle.group_of(job.pk)]
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        lifecycle.move(job, Status.CANCELLED)
        raise ZeroDivisionError
    assert len(rung) == 1
    assert Job.objects.get(pk=job.pk).status == Status.QUEUED
