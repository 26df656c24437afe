from __future__ import annotations

from pathlib import Path

import pytest

from registry import services
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
    services.manifest_path(model).unlink()
    assert services.verify_files(model) == []
    (tiny / "config.json").write_text("{}")
    assert services.verify_files(model) == ["The files are no longer those that were registered."]


def test_a_model_without_files_has_nothing_to_verify(project):
    assert services.verify_files(make_model()) == []
