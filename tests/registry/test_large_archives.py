"""Archives that a request does not wait for: a worker unpacks them, and is killed meanwhile."""

from __future__ import annotations

import fcntl
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from registry import archives, checks, treatment, verification
from registry.models import Dataset, DatasetTask
from tests.registry.test_resumable_uploads import (
    PETS,
    left_over,
    register,
    tarred,
    whole,
    zipped,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("home")]


@pytest.fixture
def by_a_worker(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever unpacks to more than a hundred bytes; and nobody is told of it here."""
    settings.TRAINYARD_CHECK_AT_ONCE_MB = 0
    monkeypatch.setattr(checks, "wake", lambda task: None)


def waiting(api: APIClient, home: Path, content: bytes, name: str) -> tuple[Dataset, DatasetTask]:
    """A dataset whose archive is still packed."""
    upload_id = whole(api, content, name)
    made = register(api, {"upload_id": upload_id}, modality="image")
    assert made.status_code == 201, made.json()
    assert made.json()["integrity_checked"] is False
    assert f"{upload_id}.part" not in left_over(home)
    return Dataset.objects.get(), DatasetTask.objects.get()


@pytest.mark.parametrize(
    ("name", "content"), [("pets.zip", zipped(PETS)), ("pets.TAR.gz", tarred(PETS))]
)
def test_a_large_archive_is_unpacked_by_a_worker(
    api: APIClient, home: Path, by_a_worker: None, name: str, content: bytes
) -> None:
    dataset, task = waiting(api, home, content, name)
    assert dataset.size_bytes == len(content)
    assert api.get(f"/api/datasets/{dataset.pk}/tasks").json()["tasks"][0]["step"] == "reading"
    treatment.work(str(task.pk))
    dataset.refresh_from_db()
    assert (dataset.num_samples, dataset.integrity_passed) == (8, True)
    folder = home / "datasets" / str(dataset.pk)
    assert sorted(path.name for path in folder.iterdir()) == ["train", "validation"]
    assert dataset.size_bytes == sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    assert verification.problems(dataset, thorough=True) == []
    assert (folder / "train/cat/0.png").stat().st_nlink > 1  # the store has it too


def test_what_it_unpacks_to_counts_not_its_own_size(
    api: APIClient, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "wake", lambda task: None)
    monkeypatch.setattr(checks, "at_once_bytes", lambda: 2_000)
    content = zipped({"train.jsonl": b'{"text": "the same"}\n' * 1000})
    assert len(content) < 2_000
    upload_id = whole(api, content, "rows.zip")
    assert register(api, {"upload_id": upload_id}).json()["integrity_checked"] is False
    treatment.work(str(DatasetTask.objects.get().pk))
    assert Dataset.objects.get().num_samples == 1000


@pytest.mark.parametrize("moment", ["unpack", "rename", "rmdir", "unlink"])
def test_a_worker_that_is_killed_while_it_unpacks_is_made_good(
    api: APIClient, home: Path, by_a_worker: None, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, task = waiting(api, home, zipped(PETS), "pets.zip")
    with monkeypatch.context() as broken:
        where: Any = archives if moment == "unpack" else Path
        real, calls = getattr(where, moment), []

        def kill(*args: Any, **more: Any) -> Any:
            calls.append(args)
            if moment == "unpack" or len(calls) == 2:  # a part of it has been done
                real(*args, **more)
                raise KeyboardInterrupt
            if moment != "rename":
                raise KeyboardInterrupt
            return real(*args, **more)

        broken.setattr(where, moment, kill)
        with pytest.raises(KeyboardInterrupt):
            treatment.work(str(task.pk))
    DatasetTask.objects.update(heartbeat_at=timezone.now() - timedelta(hours=1))
    treatment.reconcile()
    treatment.work(str(task.pk))
    dataset.refresh_from_db()
    assert (dataset.num_samples, dataset.integrity_passed) == (8, True)
    folder = home / "datasets" / str(dataset.pk)
    assert sorted(path.name for path in folder.iterdir()) == ["train", "validation"]


def test_whoever_still_unpacks_is_waited_for(api: APIClient, home: Path, by_a_worker: None) -> None:
    dataset, task = waiting(api, home, zipped(PETS), "pets.zip")
    archive = archives.waiting_in(Path(dataset.storage_path))
    assert archive is not None

    class Enough(Exception):
        pass

    def meanwhile() -> None:
        raise Enough

    with open(archive, "rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(Enough):
            archives.unpack_waiting(archive, meanwhile)
    treatment.work(str(task.pk))
    task.refresh_from_db()
    assert task.status == DatasetTask.Status.DONE


def test_a_large_archive_that_is_not_sound_fails_with_its_reason(
    api: APIClient, home: Path, by_a_worker: None, client: Any
) -> None:
    dataset, task = waiting(api, home, zipped({"../../etc/cat/1.png": b"x" * 200}), "a.zip")
    treatment.work(str(task.pk))
    [told] = api.get(f"/api/datasets/{dataset.pk}/tasks").json()["tasks"]
    assert (told["status"], "leads out of its folder" in told["message"]) == ("failed", True)
    assert "leads out of its folder" in client.get(f"/datasets/{dataset.pk}").content.decode()
    again = api.post(f"/api/datasets/{dataset.pk}/check", {}, format="json")
    assert again.status_code == 202
