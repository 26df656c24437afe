"""What a finished job puts into the registry."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction

from activity.models import Activity
from registry import feed, files, inspect, results, services, storage, store, verification
from registry.models import Adapter, BaseModel
from tests.factories import make_model
from tests.registry.files import PARAMS, write_model

JOB = {"job_id": str(uuid.uuid4()), "dataset_checksum": "0" * 64}


@pytest.fixture
def export(home: Path) -> Path:
    return write_model(home / "exports" / JOB["job_id"] / "safetensors")


def train(export: Path, **more: Any) -> BaseModel:
    base = make_model(name="tiny", family="llama")
    return results.create_trained_model(
        name="Tiny on dates",
        project_id=base.project_id,
        base_model=base,
        storage_path=str(export),
        inspected=inspect.model_folder(export),
        metadata=JOB,
        user=None,
        **more,
    )


def test_a_trained_model_knows_its_facts_and_where_it_comes_from(project, export):
    files = storage.manifest(export)
    model = train(export, files=files)
    model.refresh_from_db()
    assert (model.params_b, model.dtype, model.context_length) == (PARAMS / 1e9, "fp16", 64)
    assert (model.family, model.storage_path) == ("llama", str(export))
    assert (model.size_bytes, model.checksum) == (
        storage.total_size(files),
        storage.checksum(files),
    )
    assert model.metadata["job_id"] == JOB["job_id"]
    assert model.inspection["params"] == PARAMS
    assert model.project == project


def test_a_trained_model_is_told_with_its_job(project, export):
    model = train(export)
    told = Activity.objects.get()
    assert (told.event_type, told.entity_id) == ("model_created", model.pk)
    assert told.metadata["job_id"] == JOB["job_id"]
    assert told.message == "Trained from tiny: Tiny on dates"


def test_a_trained_adapter_is_kept_beside_its_base_model(project, home):
    base = make_model()
    adapter = results.create_trained_adapter(
        name="Tiny on dates",
        project_id=project.pk,
        base_model=base,
        method="lora",
        storage_path=str(home / "exports" / "x"),
        size_bytes=5,
        checksum="a" * 64,
        r=16,
        lora_alpha=32,
        target_modules="all-linear",
        metadata=JOB,
        model_card="# Card",
        user=None,
    )
    adapter.refresh_from_db()
    assert list(base.adapters.all()) == [adapter]
    assert (adapter.r, adapter.lora_alpha, adapter.target_modules) == (16, 32, "all-linear")
    told = Activity.objects.get()
    assert (told.event_type, told.entity_id) == ("model_created", adapter.pk)
    assert told.metadata["model_kind"] == "adapter"


@pytest.mark.django_db(transaction=True)
def test_a_job_that_is_rolled_back_registers_nothing(export, home):
    with pytest.raises(RuntimeError), transaction.atomic():
        train(export, files=storage.manifest(export))
        raise RuntimeError
    assert not BaseModel.objects.exists()
    assert not Activity.objects.exists()
    assert list((home / "models").iterdir()) == []


@pytest.mark.django_db(transaction=True)
def test_a_committed_model_can_be_verified_file_by_file(export):
    model = train(export, files=storage.manifest(export))
    assert services.verify_files(model) == []
    (export / "config.json").unlink()  # it is shared, and so not to be written to
    (export / "config.json").write_text("{}")
    (export / "tokenizer.json").unlink()
    (export / "later.txt").touch()
    found = services.verify_files(model)
    assert len(found) == 2
    assert found[0].startswith("config.json has changed (")
    assert found[1] == "tokenizer.json is missing."


def test_the_registry_has_no_row_where_the_feed_has_no_line(project, export, monkeypatch):
    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr(feed, "record", fail)
    with pytest.raises(RuntimeError):
        train(export)
    assert not BaseModel.objects.filter(name="Tiny on dates").exists()
    assert not Adapter.objects.exists()


def test_a_result_shares_its_files_and_is_not_read_again_before_it_is_used(
    project, export, home, monkeypatch, django_capture_on_commit_callbacks
):
    other = write_model(home / "exports" / "other" / "safetensors")
    store.adopt(other, storage.manifest(other))
    with django_capture_on_commit_callbacks(execute=True):
        model = train(export, files=storage.manifest(export))
    assert (export / "model.safetensors").samefile(other / "model.safetensors")
    monkeypatch.setattr(files, "_hash", None)
    assert verification.verify(model) == []
