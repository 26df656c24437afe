from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from registry import files, services, tasks, verification
from registry.models import BaseModel, Dataset
from tests.factories import make_model
from tests.registry.conftest import pair
from tests.registry.files import write_rows


@pytest.fixture
def dataset(root, project, rows: Path) -> Dataset:
    return services.register_dataset(
        user=root, project=project, name="dates", storage_path=str(rows)
    )


@pytest.fixture
def model(root, project, tiny: Path) -> BaseModel:
    return services.register_model(user=root, project=project, name="x", storage_path=str(tiny))


def test_untouched_files_are_as_they_were(dataset, model):
    assert services.verify_files(dataset) == []
    assert services.verify_files(model) == []


def test_a_changed_file_is_named_even_at_the_same_size(dataset, rows):
    before = (rows / "train.jsonl").read_bytes()
    (rows / "train.jsonl").write_bytes(before.replace(b"05-01", b"05-02"))
    found = services.verify_files(dataset)
    assert len(found) == 1
    assert found[0].startswith("train.jsonl has changed")


def test_a_missing_and_a_new_file_of_rows_are_named(dataset, rows):
    (rows / "validation.jsonl").unlink()
    write_rows(rows / "train-2.jsonl", [pair(1)])
    assert services.verify_files(dataset) == [
        "validation.jsonl is missing.",
        "train-2.jsonl is new.",
    ]


def test_a_dataset_of_one_file_is_verified_too(root, project, rows):
    path = rows / "train.jsonl"
    dataset = services.register_dataset(
        user=root, project=project, name="one", storage_path=str(path)
    )
    assert services.verify_files(dataset) == []
    path.write_text("{}")
    assert len(services.verify_files(dataset)) == 1


def test_a_folder_that_is_gone_is_named_file_by_file(model, tiny):
    tiny.rename(tiny.with_name("elsewhere"))
    assert "model.safetensors is missing." in services.verify_files(model)


def test_without_its_manifest_the_checksum_still_tells(model, tiny):
    verification.manifest_path(model).unlink()
    assert services.verify_files(model) == []
    assert verification.manifest_path(model).exists()  # and is written anew
    verification.manifest_path(model).unlink()
    (tiny / "config.json").write_text("{}")
    assert services.verify_files(model) == ["The files are no longer those that were registered."]


def test_a_model_without_files_has_nothing_to_verify(project):
    assert services.verify_files(make_model()) == []


def test_a_disk_that_cannot_be_read_is_said_and_the_next_entry_is_read(
    dataset, model, tiny, monkeypatch
):
    """The round goes on behind it: an entry like this would be the first of every other, too."""

    def hash_files(paths: list[Path], meanwhile: Any = None) -> Any:
        if any(path.is_relative_to(tiny) for path in paths):
            raise OSError(errno.EIO, "Input/output error", str(paths[0]))
        return whole(paths, meanwhile)

    whole = files.hash_files
    monkeypatch.setattr(files, "hash_files", hash_files)
    before = timezone.now()
    type(model).objects.update(verified_at=None)
    type(dataset).objects.update(verified_at=None)
    tasks.verify_files()
    model.refresh_from_db()
    dataset.refresh_from_db()
    assert model.status == BaseModel.Status.BROKEN
    assert dataset.verified_at > before
    [problem] = model.metadata["inspection"]["file_problems"]
    assert problem.startswith("The files cannot be read: ")
    assert problem.endswith(": Input/output error.")
    monkeypatch.undo()
    assert verification.verify(model, thorough=True) == []
    model.refresh_from_db()
    assert model.status == BaseModel.Status.ACTIVE
