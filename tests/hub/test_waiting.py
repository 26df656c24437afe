"""How long a transfer waits before it tries again, and what it says of its speed meanwhile."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone

from registry.hub import outcome, pulse, runner
from registry.hub.models import Kind, Status, Transfer
from registry.hub.pulse import Pulse
from registry.hub.trouble import Trouble, asked_to_wait
from tests.factories import make_transfer
from tests.hub.conftest import Run
from tests.hub.fake_hub import FakeHub, Fault

pytestmark = pytest.mark.django_db
AGAIN = Trouble("network", "The connection was cut.", passes=True)


def waits(transfer: Transfer) -> float:
    """Seconds from now until it is tried again."""
    assert transfer.not_before is not None
    return (transfer.not_before - timezone.now()).total_seconds()


def test_each_wait_is_twice_as_long_up_to_a_limit(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TRAINYARD_TRANSFER_BACKOFF_SECONDS = 5
    settings.TRAINYARD_TRANSFER_TRIES = 12
    monkeypatch.setattr(random, "uniform", lambda low, high: high)
    transfer = make_transfer(status=Status.RUNNING)
    waited = []
    for _ in range(9):
        Transfer.objects.filter(pk=transfer.pk).update(status=Status.RUNNING)
        outcome.troubled(transfer, transfer.attempt, AGAIN)
        waited.append(round(waits(transfer)))
    assert waited == [5, 10, 20, 40, 80, 160, 320, 600, 600]
    assert transfer.waiting_reason == "The connection was cut. Tries again, 10 of 12."


def test_waits_are_spread_so_that_not_all_come_back_at_once(settings: Any) -> None:
    settings.TRAINYARD_TRANSFER_BACKOFF_SECONDS = 100
    waited = []
    for _ in range(20):
        transfer = make_transfer(status=Status.RUNNING)
        outcome.troubled(transfer, transfer.attempt, AGAIN)
        waited.append(waits(transfer))
    assert 74 <= min(waited) < max(waited) <= 100
    assert max(waited) - min(waited) > 2


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("said", "seconds"), [("90", 90), ("7200", 3600), ("soon", None)])
def test_who_says_when_is_asked_then(
    hub: FakeHub, transfer_of: Run, settings: Any, said: str, seconds: float | None
) -> None:
    settings.TRAINYARD_TRANSFER_BACKOFF_SECONDS = 10
    hub.add("datasets", "ana/rows", {"train.jsonl": b'{"text": "a"}\n'})
    asked: list[str] = []

    def busy(one: Any) -> Fault:
        asked.append(one.path)
        return Fault(status=429, headers={"Retry-After": said})

    hub.fault_of = busy
    transfer = transfer_of(Kind.HF_DATASET, "ana/rows")
    runner.run(transfer, 1)
    assert transfer.status == Status.QUEUED
    assert waits(transfer) == pytest.approx(seconds or 8.75, abs=2)
    assert "too many requests" in transfer.waiting_reason
    if seconds:
        assert len(asked) == 1  # it was not pressed meanwhile


def test_what_retry_after_may_say() -> None:
    in_a_minute = datetime.now(UTC) + timedelta(seconds=60)
    assert asked_to_wait(format_datetime(in_a_minute, usegmt=True)) == pytest.approx(60, abs=2)
    assert asked_to_wait("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert asked_to_wait("1.5") == 1.5
    assert asked_to_wait("-3") == 0
    assert asked_to_wait("inf") == 3600
    for nonsense in ("", "soon", "nan", "Wed, 99 Oct 2015", "1e9999x"):
        assert asked_to_wait(nonsense) is None


# --- Speed ---------------------------------------------------------------------------------------


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(pulse, "time", SimpleNamespace(monotonic=lambda: self.now))

    def beat(self, heart: Pulse, seconds: float, moved: int) -> None:
        self.now += seconds
        heart.bytes_moved += moved
        heart.beat()


def test_the_rate_is_that_of_the_last_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    transfer = make_transfer(status=Status.RUNNING, size_bytes=100_000)
    clock, heart = Clock(monkeypatch), Pulse(transfer)

    def said() -> tuple[float | None, float | None]:
        transfer.refresh_from_db()
        return transfer.rate_bytes_s, transfer.eta_s

    heart.begin("moving", bytes_moved=20_000)
    assert said() == (None, None)  # nothing is known of a first moment
    clock.beat(heart, 1, 1000)
    assert said() == (1000.0, 79.0)
    clock.beat(heart, 1, 6000)  # one second of five has another speed
    assert said() == (2000.0, 36.5)
    clock.beat(heart, 0.1, 10_000)  # too short to say anything
    assert said()[0] == 2000.0
    clock.beat(heart, 10, 0)  # a silence longer than what is looked at
    rate, left = said()
    assert rate == pytest.approx(10_000 / 10.1)
    assert left == pytest.approx(63.6, abs=0.1)
    clock.beat(heart, 10, 0)
    assert said() == (0.0, None)
    heart.lost(5000)  # what comes a second time is no speed
    clock.beat(heart, 1, 0)
    assert said() == (None, None)
    clock.beat(heart, 1, 500)
    assert said()[0] == pytest.approx(500.0)


def test_what_is_sent_twice_is_not_ready_before_now() -> None:
    transfer = make_transfer(
        status=Status.RUNNING, size_bytes=1000, bytes_transferred=1500, rate_bytes_s=100.0
    )
    assert (transfer.eta_s, transfer.percent) == (0.0, 100.0)


def test_nothing_is_said_of_one_that_does_not_move() -> None:
    transfer = make_transfer(status=Status.QUEUED, size_bytes=1000, rate_bytes_s=100.0)
    assert (transfer.eta_s, transfer.progress["rate_bytes_s"]) == (None, None)
