"""Whose turn it is, what was lost, and what is left behind."""

from __future__ import annotations

import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from registry.hub import dispatch, places
from registry.hub.models import Status, Transfer
from tests.factories import make_transfer

pytestmark = pytest.mark.django_db
LONG_AGO = timedelta(hours=1)


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[Transfer]:
    rung: list[Transfer] = []
    monkeypatch.setattr(dispatch, "ring", rung.extend)
    return rung


@pytest.fixture
def sent(rung: list[Transfer], django_capture_on_commit_callbacks: Any) -> Any:
    """The transfers that a call of `dispatch` sends for."""

    def send() -> list[Transfer]:
        rung.clear()
        with django_capture_on_commit_callbacks(execute=True):
            dispatch.dispatch()
        return list(rung)

    return send


def test_the_oldest_go_first_and_no_more_than_there_is_room_for(sent: Any, settings: Any) -> None:
    settings.TRAINYARD_PARALLEL_TRANSFERS = 2
    now = timezone.now()
    young, old, middle = (
        make_transfer(queued_at=now - timedelta(minutes=age)) for age in (1, 3, 2)
    )
    assert sent() == [old, middle]
    assert sent() == []
    Transfer.objects.filter(pk=old.pk).update(
        status=Status.CANCELLED, finished_at=now, sent_at=None
    )
    assert sent() == [young]


def test_what_runs_takes_its_place_and_what_is_to_wait_waits(sent: Any, settings: Any) -> None:
    settings.TRAINYARD_PARALLEL_TRANSFERS = 1
    running = make_transfer(status=Status.RUNNING)
    waiting = make_transfer()
    later = make_transfer(not_before=timezone.now() + LONG_AGO)
    assert sent() == []
    Transfer.objects.filter(pk=running.pk).update(status=Status.PAUSED)
    assert sent() == [waiting]
    Transfer.objects.filter(pk=waiting.pk).update(status=Status.PAUSED)
    assert sent() == []
    Transfer.objects.filter(pk=later.pk).update(not_before=timezone.now())
    assert sent() == [later]


def test_a_message_that_was_lost_is_sent_again(sent: Any) -> None:
    transfer = make_transfer(sent_at=timezone.now() - LONG_AGO)
    assert sent() == [transfer]
    transfer.refresh_from_db()
    assert "No worker has taken it so far." in transfer.waiting_reason


def test_a_transfer_nobody_speaks_for_is_queued_again(rung: list[Transfer]) -> None:
    lost = make_transfer(status=Status.RUNNING, heartbeat_at=timezone.now() - LONG_AGO)
    heard = make_transfer(status=Status.RUNNING)
    dispatch.reap_lost()
    lost.refresh_from_db()
    heard.refresh_from_db()
    assert (lost.status, lost.attempt, lost.tries) == (Status.QUEUED, 2, 1)
    assert (heard.status, heard.attempt) == (Status.RUNNING, 1)


def test_one_that_is_lost_again_and_again_fails(settings: Any) -> None:
    settings.TRAINYARD_TRANSFER_TRIES = 3
    lost = make_transfer(status=Status.RUNNING, heartbeat_at=None, tries=2)
    dispatch.reap_lost()
    lost.refresh_from_db()
    assert lost.failure is not None
    assert lost.failure["message"] == (
        "The worker that moved it was lost. That was so 3 times in a row."
    )


def test_bytes_that_came_in_between_count_as_a_new_start(settings: Any) -> None:
    settings.TRAINYARD_TRANSFER_TRIES = 3
    lost = make_transfer(
        status=Status.RUNNING, heartbeat_at=None, tries=2, bytes_transferred=10, bytes_at_last_try=9
    )
    dispatch.reap_lost()
    lost.refresh_from_db()
    assert (lost.status, lost.tries) == (Status.QUEUED, 1)


def test_a_worker_that_starts_anew_takes_up_what_it_had(settings: Any) -> None:
    ours = make_transfer(status=Status.RUNNING, worker=settings.TRAINYARD_WORKER)
    others = make_transfer(status=Status.RUNNING, worker="elsewhere")
    dispatch.reap_of_this_worker()
    ours.refresh_from_db()
    others.refresh_from_db()
    assert (ours.status, others.status) == (Status.QUEUED, Status.RUNNING)


def test_only_what_can_go_on_keeps_its_files(home: Path) -> None:
    long_ago = timezone.now() - dispatch.KEEP_FAILED - LONG_AGO
    kept = [make_transfer(status=status) for status in (Status.PAUSED, Status.FAILED)]
    gone = [make_transfer(status=Status.CANCELLED), make_transfer(status=Status.COMPLETED)]
    gone.append(make_transfer(status=Status.FAILED, finished_at=long_ago))
    for pk in [*(t.pk for t in (*kept, *gone)), uuid.uuid4()]:
        (places.files_of(pk)).mkdir(parents=True)
    half_registered = places.destination_of(gone[0])
    half_registered.mkdir()
    dispatch.sweep()
    assert {path.name for path in (home / "transfers").iterdir()} == {str(t.pk) for t in kept}
    assert not half_registered.exists()


def test_nobody_removes_a_folder_that_somebody_is_at_work_in(home: Path) -> None:
    transfer = make_transfer(status=Status.CANCELLED)
    with places.held(transfer.pk, lambda seconds: True):
        assert dispatch.tidy(transfer) is False
    assert dispatch.tidy(transfer) is True


@pytest.mark.parametrize(
    "path", ["../x", "/etc/passwd", "a/../../b", "a\\b", "", "a\x00b", "x" * 300]
)
def test_a_name_that_leads_elsewhere_is_refused(path: str, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="cannot be kept"):
        places.file_in(tmp_path, path)
