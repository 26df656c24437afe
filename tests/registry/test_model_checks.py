"""Checks over time: cheap where nothing has changed, thorough when asked, and said in the row."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import User
from registry import files, model_checks, services, storage, tasks, verification
from registry.compatibility import compatibility
from registry.models import BaseModel, Dataset
from tests.factories import make_dataset, make_model
from tests.pages import Page
from tests.registry.files import write_model


@pytest.fixture
def model(root: User, project: Any, tiny: Path) -> BaseModel:
    return services.register_model(user=root, project=project, name="tiny", storage_path=str(tiny))


@pytest.fixture
def dataset(root: User, project: Any, rows: Path) -> Dataset:
    return services.register_dataset(
        user=root, project=project, name="dates", storage_path=str(rows)
    )


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read whole."""
    names: list[str] = []
    real = files._hash

    def told(path: Path, stop: Any) -> files.Hashed:
        names.append(path.name)
        return real(path, stop)

    monkeypatch.setattr(files, "_hash", told)
    return names


def long_ago(folder: Path) -> None:
    for path in folder.rglob("*"):
        os.utime(path, (1_700_000_000, 1_700_000_000))


def same_size(path: Path) -> None:
    """Another byte, and everything else as it was."""
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def test_untouched_files_are_read_once(model, tiny, reads):
    long_ago(tiny)
    assert verification.verify(model) == []
    assert len(reads) == 5
    reads.clear()
    assert verification.verify(model) == []
    assert reads == []


def test_only_the_touched_file_is_read_again(model, tiny, reads):
    long_ago(tiny)
    verification.verify(model)
    reads.clear()
    os.utime(tiny / "config.json")
    assert verification.verify(model) == []
    assert reads == ["config.json"]


def test_a_changed_file_is_named_and_breaks_the_model_until_it_is_back(model, tiny):
    before = (tiny / "model.safetensors").read_bytes()
    same_size(tiny / "model.safetensors")
    [problem] = verification.verify(model)
    assert problem.startswith("model.safetensors has changed")
    model.refresh_from_db()
    assert (model.status, model.file_problems) == ("broken", [problem])
    (tiny / "model.safetensors").write_bytes(before)
    assert verification.verify(model) == []
    model.refresh_from_db()
    assert (model.status, model.file_problems) == ("active", [])


def test_a_change_behind_the_same_size_and_time_is_found_by_reading_all(model, tiny):
    long_ago(tiny)
    verification.verify(model)
    status = (tiny / "model.safetensors").stat()
    same_size(tiny / "model.safetensors")
    os.utime(tiny / "model.safetensors", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert verification.verify(model) == []
    assert len(verification.verify(model, thorough=True)) == 1
    assert len(verification.verify(model)) == 1


def test_what_is_remembered_wrongly_counts_for_nothing(model, tiny, reads):
    path = storage.seen_path(verification.manifest_path(model))
    for nonsense in ("", "[]", "{", '{"config.json": 1}', '{"config.json": [1, 2, 3, 4]}'):
        path.write_text(nonsense)
        assert verification.verify(model) == []


def test_a_manifest_that_somebody_has_changed_is_not_believed(model, tiny):
    path = verification.manifest_path(model)
    same_size(tiny / "config.json")
    storage.write_manifest(path, storage.manifest(tiny))
    assert verification.verify(model) == ["The files are no longer those that were registered."]


def test_a_dataset_does_not_pass_until_its_files_are_right_again(dataset, rows):
    before = (rows / "train.jsonl").read_bytes()
    (rows / "train.jsonl").write_bytes(before + before)
    assert verification.verify(dataset)
    dataset.refresh_from_db()
    assert not dataset.integrity_passed
    assert dataset.integrity_report["errors"] == 1
    assert "train.jsonl has changed" in dataset.integrity_report["findings"][0]["message"]
    (rows / "train.jsonl").write_bytes(before)
    assert verification.verify(dataset) == []
    dataset.refresh_from_db()
    assert dataset.integrity_passed
    assert dataset.integrity_report["errors"] == 0
    assert not [f for f in dataset.integrity_report["findings"] if f["code"] == "file_changed"]


def test_a_dataset_whose_rows_nobody_reads_is_unchecked_again(root, project, rows):
    dataset = services.register_dataset(
        user=root, project=project, name="a", storage_path=str(rows), modality="audio"
    )
    (rows / "train.jsonl").rename(rows / "gone")
    verification.verify(dataset)
    assert (dataset.integrity_checked, dataset.integrity_passed) == (True, False)
    (rows / "gone").rename(rows / "train.jsonl")
    verification.verify(dataset)
    assert (dataset.integrity_checked, dataset.integrity_passed) == (False, False)


def test_who_waits_is_asked_whether_to_go_on(home, monkeypatch):
    monkeypatch.setattr(files, "MEANWHILE_SECONDS", 0.0)
    monkeypatch.setattr(files, "WORTH_THREADS_BYTES", 0)
    big = home / "big"
    with open(big, "wb") as file:
        file.truncate(1 << 40)  # hours of work

    def stop() -> None:
        raise KeyError("enough")

    with pytest.raises(KeyError):
        files.hash_files([big], stop)


def test_files_that_cannot_be_read_are_named_in_any_number(home, monkeypatch):
    monkeypatch.setattr(files, "WORTH_THREADS_BYTES", 0)
    (home / "a").write_bytes(b"1")
    (home / "folder").mkdir()
    with pytest.raises(files.BadPath, match="folder"):
        files.hash_files([home / "a", home / "folder"])


def test_the_periodic_task_reads_what_has_not_been_read_for_days(model, tiny, settings):
    same_size(tiny / "config.json")
    tasks.verify_files()  # read yesterday: not yet
    model.refresh_from_db()
    assert model.status == "active"
    BaseModel.objects.update(verified_at="2020-01-01T00:00:00Z")
    settings.TRAINYARD_VERIFY_DAYS = 0
    tasks.verify_files()
    model.refresh_from_db()
    assert model.status == "active"
    settings.TRAINYARD_VERIFY_DAYS = 7
    tasks.verify_files()
    model.refresh_from_db()
    assert model.status == "broken"
    assert model.verified_at is not None
    assert model.verified_at.year > 2020


# --- POST /api/base-models/:id/check, and the page ------------------------------------------------


def test_a_check_by_the_api_says_what_is_wrong(client_of, ana, model, tiny):
    check = f"/api/base-models/{model.pk}/check"
    assert client_of(ana).post(check).json()["status"] == "active"
    (tiny / "model.safetensors").unlink()
    answer = client_of(ana).post(check)
    assert answer.status_code == 200
    assert answer.json()["status"] == "broken"
    assert answer.json()["metadata"]["inspection"]["file_problems"] == [
        "model.safetensors is missing."
    ]


def test_a_model_without_files_cannot_be_checked(client_of, ana, project):
    answer = client_of(ana).post(f"/api/base-models/{make_model().pk}/check")
    assert answer.status_code == 400
    assert "has no files" in answer.json()["error"]


def test_a_check_takes_over_what_is_newly_found_and_leaves_words_alone(model, tiny):
    BaseModel.objects.filter(pk=model.pk).update(
        metadata={"mine": 1}, params_b=None, model_card="mine", trainable=False
    )
    model.refresh_from_db()
    services.check_model(model)
    model.refresh_from_db()
    assert model.metadata["mine"] == 1
    assert model.inspection["params"] == 2120
    assert model.params_b == 2120 / 1e9
    assert (model.model_card, model.trainable) == ("mine", False)


def test_the_page_shows_the_files_and_checks_them(ana, model, tiny):
    client = Client()
    client.force_login(ana)
    address = f"/models/{model.pk}"
    page = Page(client.get(address))
    page.check_outline()
    assert "model.safetensors weights" in page.words
    assert "README.md model card" in page.words
    assert "Licence mit" in page.words
    assert "tokenizer.json cannot be loaded: it has no model." in page.words
    (tiny / "README.md").unlink()
    page = Page(client.post(f"{address}/check", follow=True))
    page.check_outline()
    assert "README.md is missing." in page.words
    assert "tiny Broken Staging" in page.words


def test_a_large_model_is_read_by_a_worker(ana, model, tiny, monkeypatch):
    asked: list[str] = []
    monkeypatch.setattr(model_checks, "_wake", lambda model: asked.append(str(model.pk)))
    BaseModel.objects.update(size_bytes=1 << 40)
    client = Client()
    client.force_login(ana)
    page = Page(client.post(f"/models/{model.pk}/check", follow=True))
    assert "Its files are being read." in page.words
    assert asked == [str(model.pk)]
    assert "A worker is reading all files." in page.words
    (tiny / "config.json").unlink()
    tasks.check_model(asked[0], 0)
    model.refresh_from_db()
    assert (model.status, model.check_heard_at) == ("broken", None)
    page = Page(client.get(f"/models/{model.pk}"))
    assert "No job can start from it" in page.words
    assert "Train it" not in page.words
    assert "#broken" in {str(a["href"])[-7:] for a in page.all("a")}


def test_a_large_model_is_left_to_a_worker_by_the_api_too_and_a_lost_one_is_made_good(
    client_of, ana, model, tiny, monkeypatch
):
    asked: list[str] = []
    monkeypatch.setattr(model_checks, "_wake", lambda model: asked.append(str(model.pk)))
    BaseModel.objects.update(size_bytes=1 << 40)
    client = client_of(ana)
    for _ in range(2):  # who asks again asks for the same
        answer = client.post(f"/api/base-models/{model.pk}/check")
        assert answer.status_code == 202
        assert client.get(f"/api/base-models/{model.pk}/check").json()["check_heard_at"]
    assert len(asked) == 1
    model_checks.reconcile()
    assert len(asked) == 1
    BaseModel.objects.update(check_heard_at=timezone.now() - timedelta(hours=1))
    model_checks.reconcile()
    assert len(asked) == 2

    class Killed(BaseException):
        pass

    def kill(*args: Any, **more: Any) -> None:
        raise Killed

    with monkeypatch.context() as broken:
        broken.setattr(verification, "problems", kill)
        with pytest.raises(Killed):
            tasks.check_model(asked[0], 0)
    assert client.get(f"/api/base-models/{model.pk}/check").json()["check_heard_at"]
    tasks.check_model(asked[0], 1)
    done = client.get(f"/api/base-models/{model.pk}/check").json()
    assert (done["status"], done["check_heard_at"]) == ("active", None)
    verified = done["verified_at"]
    tasks.check_model(asked[0], 1)  # a second message
    assert client.get(f"/api/base-models/{model.pk}/check").json()["verified_at"] == verified


@pytest.mark.parametrize(("who", "status"), [("viewer", 403), ("stranger", 404)])
def test_who_may_not_change_a_model_does_not_check_it(request, project, model, who, status):
    client = Client()
    client.force_login(request.getfixturevalue(who))
    assert client.post(f"/models/{model.pk}/check").status_code == status
    assert "Check files again" not in client.get(f"/models/{model.pk}").content.decode()


def test_a_broken_model_suits_no_dataset(project):
    model = make_model(status="broken", metadata={"inspection": {"file_problems": ["x is gone."]}})
    assert compatibility(make_dataset(), model)["errors"] == [
        f"The model '{model.name}' is broken: x is gone."
    ]


def test_a_model_of_a_linked_file_is_checked_too(root, project, home):
    folder = write_model(home / "models" / "linked")
    (folder / "model.safetensors").rename(home / "models" / "blob")
    (folder / "model.safetensors").symlink_to(home / "models" / "blob")
    model = services.register_model(user=root, project=project, name="x", storage_path=str(folder))
    assert verification.verify(model) == []
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to("/etc/passwd")
    [problem] = verification.verify(model)
    assert "outside the storage roots" in problem
