"""Pause, resume, cancel, retry and a worker that goes down, while the bytes are moving."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection

from registry.hub import dispatch, places, pulse, registration, runner, services
from registry.hub.lifecycle import IllegalMove
from registry.hub.models import Status, Transfer
from registry.models import Dataset
from tests.hub.conftest import ROWS, Run
from tests.hub.fake_hub import FakeHub, Fault
from tests.trainyard.running.instances import wait_for

pytestmark = pytest.mark.django_db(transaction=True)
SLOWLY = 20_000
FILES: dict[str, Any] = {"train.jsonl": ROWS, "small.md": b"# Rows\n"}


class Moving:
    """A transfer that is being run by another thread, as a worker's threads are."""

    def __init__(self, transfer: Transfer) -> None:
        self.transfer = transfer
        self.thread = threading.Thread(target=self.run, args=(transfer.attempt,))
        self.thread.start()

    def run(self, attempt: int) -> None:
        try:
            runner.run(Transfer.objects.get(pk=self.transfer.pk), attempt)
        finally:
            connection.close()

    def wait_for_bytes(self) -> None:
        folder = places.folder_of(self.transfer.pk) / "parts"

        def some_are_there() -> bool:
            try:
                return sum(part.stat().st_size for part in folder.iterdir()) > 1000
            except FileNotFoundError:  # not begun, or a part has just been moved to its place
                return False

        wait_for("bytes", some_are_there, 20)

    def end(self) -> Transfer:
        self.thread.join(20)
        assert not self.thread.is_alive()
        self.transfer.refresh_from_db()
        return self.transfer


@pytest.fixture
def moving(hub: FakeHub, transfer_of: Run) -> Iterator[Callable[..., Moving]]:
    started: list[Moving] = []

    def begin(**fields: Any) -> Moving:
        hub.add("datasets", "ana/rows", FILES)
        hub.fault_of = lambda asked: (
            Fault(bytes_a_second=SLOWLY) if asked.path.endswith("train.jsonl") else None
        )
        started.append(Moving(transfer_of("hf_dataset", "ana/rows", **fields)))
        started[-1].wait_for_bytes()
        return started[-1]

    yield begin
    for one in started:
        one.thread.join(20)


def test_it_pauses_and_goes_on_from_the_byte(hub: FakeHub, moving: Any, ana: Any) -> None:
    one = moving()
    services.pause(one.transfer, actor=ana)
    transfer = one.end()
    assert transfer.status == Status.PAUSED
    part = next((places.folder_of(transfer.pk) / "parts").iterdir())
    there = part.stat().st_size
    assert 1000 < there < len(ROWS)
    services.resume(transfer, actor=ana)
    hub.fault_of = lambda asked: None
    hub.asked.clear()
    runner.run(transfer, transfer.attempt)
    assert transfer.status == Status.COMPLETED
    assert [asked.range for asked in hub.bodies()] == [f"bytes={there}-{len(ROWS) - 1}"]
    assert (Path(Dataset.objects.get().storage_path) / "train.jsonl").read_bytes() == ROWS


def test_cancel_leaves_nothing_and_retry_begins_anew(
    hub: FakeHub, moving: Any, ana: Any, home: Path
) -> None:
    one = moving()
    services.cancel(one.transfer, actor=ana)
    transfer = one.end()
    assert (transfer.status, transfer.bytes_transferred) == (Status.CANCELLED, 0)
    assert list((home / "transfers").iterdir()) == []
    with pytest.raises(IllegalMove):
        services.pause(transfer, actor=ana)
    services.retry(transfer, actor=ana)
    hub.fault_of = lambda asked: None
    runner.run(transfer, transfer.attempt)
    assert transfer.status == Status.COMPLETED


def test_a_worker_that_goes_down_puts_it_back(
    hub: FakeHub, moving: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    going_down = threading.Event()
    monkeypatch.setattr(pulse, "going_down", going_down)
    monkeypatch.setattr(runner, "going_down", going_down)
    one = moving()
    going_down.set()
    transfer = one.end()
    assert (transfer.status, transfer.attempt) == (Status.QUEUED, 2)
    assert "worker was stopped" in transfer.waiting_reason


def test_an_attempt_that_was_given_to_another_ends_nothing(hub: FakeHub, moving: Any) -> None:
    one = moving()
    Transfer.objects.filter(pk=one.transfer.pk).update(heartbeat_at=None)
    dispatch.reap_lost()
    transfer = one.end()
    assert (transfer.status, transfer.attempt) == (Status.QUEUED, 2)
    with pytest.raises(IllegalMove):
        runner.run(transfer, 1)
    hub.fault_of = lambda asked: None
    runner.run(transfer, 2)
    assert transfer.status == Status.COMPLETED
    assert Dataset.objects.count() == 1


def test_it_keeps_to_its_bandwidth(hub: FakeHub, brought: Run) -> None:
    hub.add("datasets", "ana/rows", FILES)
    began = time.monotonic()
    transfer = brought(bandwidth_limit=len(ROWS))
    # Half a second's worth comes at once.
    assert time.monotonic() - began >= 0.45
    assert transfer.status == Status.COMPLETED


def test_killed_between_the_last_byte_and_the_registry_it_is_registered_once(
    hub: FakeHub, transfer_of: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("datasets", "ana/rows", FILES)
    transfer = transfer_of("hf_dataset", "ana/rows")

    class Killed(BaseException):
        pass

    def die(*args: Any, **kwargs: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr("registry.services.register_dataset", die)
        runner.run(transfer, 1)
    assert places.destination_of(transfer).is_dir()
    Transfer.objects.filter(pk=transfer.pk).update(heartbeat_at=None)
    dispatch.reap_lost()
    hub.asked.clear()
    transfer.refresh_from_db()
    runner.run(transfer, 2)
    assert transfer.status == Status.COMPLETED
    assert hub.bodies() == []
    assert Path(Dataset.objects.get().storage_path) == places.destination_of(transfer)


@pytest.fixture
def killed_while_registering(
    hub: FakeHub, transfer_of: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> Transfer:
    """A transfer whose worker got kill -9 after the manifest and before the commit."""
    hub.add("datasets", "ana/rows", FILES)
    transfer = transfer_of("hf_dataset", "ana/rows")

    class Killed(BaseException):
        pass

    def die(*args: Any, **kwargs: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr("registry.services.entries.quotas.counts", die)
        patch.setattr("registry.services.entries.storage.remove", lambda *paths: None)
        runner.run(transfer, 1)
    place = places.destination_of(transfer)
    (home / "datasets" / f".{place.name}.seen.json.{'0' * 32}").write_text("{")
    second = home / "store" / "incoming" / f"{place.name}-{'0' * 32}"
    second.parent.mkdir(parents=True, exist_ok=True)
    second.hardlink_to(place / "train.jsonl")
    Transfer.objects.filter(pk=transfer.pk).update(heartbeat_at=None)
    dispatch.reap_lost()
    transfer.refresh_from_db()
    assert len(around(home)) == 6, around(home)
    return transfer


def around(home: Path) -> list[str]:
    """What lies in the folders of entries, and what is under way in the store."""
    folders = (home / "datasets", home / "models", home / "store" / "incoming")
    return sorted(path.name for folder in folders for path in folder.glob("*"))


def test_killed_beside_the_manifest_and_cancelled_it_leaves_nothing(
    killed_while_registering: Transfer, home: Path
) -> None:
    services.cancel(killed_while_registering, actor=killed_while_registering.created_by)
    dispatch.reconcile()
    assert around(home) == []
    assert list(Path(home / "transfers").glob("*-*")) == []


def test_killed_beside_the_manifest_it_is_taken_up_again(
    killed_while_registering: Transfer, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transfer = killed_while_registering
    seen: list[list[str]] = []

    def look_and_register(*arguments: Any) -> None:
        seen.append(around(home))
        registration.register(*arguments)

    monkeypatch.setattr(runner, "registration", SimpleNamespace(register=look_and_register))
    runner.run(transfer, 2)
    assert seen == [[]]
    entry = transfer.entry_id
    ours = [f"{entry}{end}" for end in ("", ".manifest.jsonl", ".rows.npz", ".seen.json")]
    assert around(home) == ours
