"""Whatever the hub or the network does, it ends with the right bytes or with a plain sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from registry.hub import places, runner, services
from registry.hub.models import Kind, Status, Transfer
from registry.hub.trouble import Trouble
from registry.models import Dataset
from tests.hub.conftest import ROWS, Run
from tests.hub.fake_hub import Asked, FakeHub, Fault

pytestmark = pytest.mark.django_db(transaction=True)
FILES: dict[str, Any] = {"train.jsonl": ROWS, "test.jsonl": ROWS[:2000]}


def on_file(*faults: Fault | None, name: str = "train.jsonl") -> Callable[[Asked], Fault | None]:
    """The faults of the first requests for a file's bytes, one after the other."""
    left = list(faults)

    def fault_of(asked: Asked) -> Fault | None:
        wanted = asked.method == "GET" and asked.path.endswith(f"/{name}")
        return left.pop(0) if wanted and left else None

    return fault_of


def again(transfer: Transfer) -> Transfer:
    """The next attempts, as workers would make them, until it has ended."""
    for _ in range(20):
        transfer.refresh_from_db()
        if transfer.status != Status.QUEUED:
            return transfer
        runner.run(transfer, transfer.attempt)
    raise AssertionError(transfer.waiting_reason)


def nothing_is_left(home: Path) -> bool:
    """No entry, no file."""
    places_ = [*(home / "models").iterdir(), *(home / "datasets").iterdir()]
    return not Dataset.objects.exists() and not places_


PASSING: dict[str, list[Fault | None]] = {
    "cut": [Fault(cut_after=1000), Fault(cut_after=5000), Fault(cut_after=0)],
    "a wrong byte": [Fault(wrong_byte=100)],
    "cut with a wrong byte": [Fault(cut_after=9000, wrong_byte=5), None],
    "ranges ignored": [
        Fault(cut_after=1000),
        Fault(no_ranges=True, cut_after=2000),
        Fault(no_ranges=True),
    ],
    "the hub is down": [Fault(status=503), Fault(status=500)],
    "too many requests": [Fault(status=429, headers={"Retry-After": "0"})],
    "another range": [Fault(cut_after=1000), Fault(late=10), Fault(late=-10)],
    "no such range": [Fault(cut_after=1000), Fault(status=416)],
    "another file half-way": [Fault(cut_after=1000), Fault(other=ROWS[::-1])],
    "too much and too little": [Fault(other=ROWS + ROWS), Fault(other=ROWS[:100])],
    "down for long": [Fault(status=500)] * 7,
}


def test_it_gets_through(hub: FakeHub, brought: Run, subtests: pytest.Subtests) -> None:
    for number, (name, faults) in enumerate(PASSING.items()):
        with subtests.test(name):
            hub.add("datasets", f"ana/{number}", FILES)
            hub.fault_of = on_file(*faults)
            transfer = again(brought(Kind.HF_DATASET, f"ana/{number}"))
            assert (transfer.status, transfer.failure) == (Status.COMPLETED, None)
            folder = Path(Dataset.objects.get(pk=transfer.entry_id).storage_path)
            assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES


def test_it_resumes_at_the_byte(hub: FakeHub, brought: Run) -> None:
    hub.add("datasets", "ana/rows", FILES)
    hub.fault_of = on_file(Fault(cut_after=10_000), Fault(status=403))
    transfer = brought()
    assert transfer.failure is not None
    assert transfer.failure["kind"] == "forbidden"
    hub.fault_of = lambda asked: None
    hub.asked.clear()
    services.retry(transfer, actor=transfer.created_by)
    assert again(transfer).status == Status.COMPLETED
    [asked] = [asked for asked in hub.bodies() if asked.path.endswith("train.jsonl")]
    assert asked.range == f"bytes=10000-{len(ROWS) - 1}"


LASTING: list[tuple[str, Fault, str, str]] = [
    (
        "wrong",
        Fault(wrong_byte=7),
        "wrong_bytes",
        "hash says. That was so 3 times in a row.",
    ),
    ("changed", Fault(other=ROWS[::-1]), "wrong_bytes", "train.jsonl"),
    ("500", Fault(status=500), "hub_error", "The hub answered 500"),
    ("429", Fault(status=429), "rate_limited", "too many requests"),
    ("cut", Fault(cut_after=0), "network", "failed"),
    (
        "404",
        Fault(status=404, headers={"X-Error-Code": "EntryNotFound"}),
        "no_file",
        "lists train.jsonl in 'ana/rows', but does not have it",
    ),
]


def test_what_does_not_pass_ends_in_a_sentence(
    hub: FakeHub, brought: Run, home: Path, settings: Any, subtests: pytest.Subtests
) -> None:
    settings.TRAINYARD_TRANSFER_TRIES = 3
    hub.add("datasets", "ana/rows", FILES)
    for name, fault, kind, words in LASTING:
        with subtests.test(name):
            hub.fault_of = on_file(*[fault] * 100)
            transfer = again(brought())
            assert transfer.failure is not None
            assert (transfer.failure["kind"], transfer.tries) == (kind, 0)
            assert words in transfer.failure["message"]
            assert nothing_is_left(home)


def make_gated(hub: FakeHub) -> None:
    hub.add("datasets", "ana/rows", FILES, gated=True)


def make_private(hub: FakeHub) -> None:
    hub.add("datasets", "ana/rows", FILES, private_to="hf_good")


def make_model(hub: FakeHub) -> None:
    hub.add("models", "ana/rows", {"model.safetensors": b""})


def make_page(hub: FakeHub) -> None:
    hub.fault_of = lambda asked: Fault(status=200)


def make_rows(hub: FakeHub) -> None:
    hub.add("datasets", "ana/rows", FILES)


def make_words(hub: FakeHub) -> None:
    hub.add("datasets", "ana/rows", {"x.md": b"words"})


REFUSED: list[tuple[Callable[[FakeHub], None], dict[str, str], str, str]] = [
    (make_gated, {}, "gated", "is gated"),
    (make_private, {}, "missing", "There is no dataset 'ana/rows' on the hub, or not for us."),
    (make_model, {}, "wrong_kind", "'ana/rows' is a model on the hub, not a dataset."),
    (make_page, {}, "not_a_hub", "does not answer as a hub does"),
    (make_rows, {"hf_revision": "v9"}, "no_revision", "'ana/rows' has no revision 'v9'."),
    (make_words, {}, "not_a_dataset", "came whole, but"),
]


def test_what_cannot_be_had_is_said_at_once(
    hub: FakeHub, brought: Run, home: Path, settings: Any, subtests: pytest.Subtests
) -> None:
    settings.TRAINYARD_TRANSFER_TRIES = 1
    for prepare, fields, kind, words in REFUSED:
        with subtests.test(kind):
            hub.repos.clear()
            hub.fault_of = lambda asked: None
            prepare(hub)
            transfer = brought(Kind.HF_DATASET, "ana/rows", **fields)
            assert transfer.failure is not None
            assert transfer.failure["kind"] == kind
            assert words in transfer.failure["message"]
            assert nothing_is_left(home)


def test_a_renamed_repository_comes_all_the_same_and_it_is_said(hub: FakeHub, brought: Run) -> None:
    hub.add("datasets", "ana/new", FILES)
    hub.renamed["datasets", "ana/rows"] = "ana/new"
    transfer = brought()
    assert transfer.status == Status.COMPLETED
    assert transfer.notes == ["'ana/rows' was renamed on the hub: it is 'ana/new' now."]
    assert Dataset.objects.get().metadata["hf_repo_id"] == "ana/new"


def test_too_large_and_no_room_are_known_before_a_byte_comes(
    hub: FakeHub, brought: Run, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("datasets", "ana/rows", FILES)
    monkeypatch.setattr(places, "free_bytes", lambda: runner.RESERVE_BYTES + 1000)
    transfer = brought()
    assert transfer.failure is not None
    assert transfer.failure["kind"] == "no_room"
    settings.TRAINYARD_TRANSFER_LIMIT_GB = 1
    with pytest.raises(Trouble, match=r"It is 2\.0 GB, and a transfer may have 1 GB here"):
        runner.refuse_too_large(transfer, 2 * 10**9)
    assert hub.bodies() == []


def test_the_commit_is_pinned_when_it_begins(hub: FakeHub, brought: Run) -> None:
    repo = hub.add("datasets", "ana/rows", FILES)
    first = repo.refs["main"]
    hub.fault_of = on_file(*[Fault(status=500)] * 3)
    transfer = brought()
    assert transfer.status == Status.QUEUED
    repo.commit({"train.jsonl": b'{"text": "other"}\n'})
    assert again(transfer).hf_commit == first
    assert (Path(Dataset.objects.get().storage_path) / "train.jsonl").read_bytes() == ROWS
