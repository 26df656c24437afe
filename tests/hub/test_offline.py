"""Nothing goes out: what the cache of the Hugging Face libraries has comes in all the same."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from registry.hub.models import Status
from registry.models import Dataset
from tests.hub.conftest import ROWS, Run
from tests.hub.fake_hub import FakeHub

pytestmark = pytest.mark.django_db(transaction=True)
COMMIT = "c" * 40


@pytest.fixture
def cache(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A snapshot as the library writes it: links to blobs that are named after their hash."""
    settings.HF_HUB_OFFLINE = True
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    folder = tmp_path / "hub" / "datasets--ana--rows"
    for name in ("blobs", "refs", f"snapshots/{COMMIT}"):
        (folder / name).mkdir(parents=True)
    blob = folder / "blobs" / hashlib.sha256(ROWS).hexdigest()
    blob.write_bytes(ROWS)
    (folder / "snapshots" / COMMIT / "train.jsonl").symlink_to(blob)
    (folder / "refs" / "main").write_text(COMMIT)
    return blob


def test_it_comes_from_the_cache(hub: FakeHub, brought: Run, cache: Path) -> None:
    transfer = brought()
    assert (transfer.status, transfer.failure) == (Status.COMPLETED, None)
    assert transfer.hf_commit == COMMIT
    assert (Path(Dataset.objects.get().storage_path) / "train.jsonl").read_bytes() == ROWS
    assert hub.asked == []


def test_a_damaged_cache_is_found_out(
    hub: FakeHub, brought: Run, cache: Path, settings: Any
) -> None:
    settings.TRAINYARD_TRANSFER_TRIES = 1
    cache.write_bytes(ROWS[::-1])
    transfer = brought()
    assert transfer.failure is not None
    assert transfer.failure["kind"] == "wrong_bytes"
    assert not Dataset.objects.exists()


def test_what_is_not_there_is_said(hub: FakeHub, brought: Run, cache: Path) -> None:
    transfer = brought(repo_id="ana/other")
    assert transfer.failure is not None
    assert transfer.failure["kind"] == "offline"
    assert "stay offline (HF_HUB_OFFLINE), and 'ana/other'" in transfer.failure["message"]
