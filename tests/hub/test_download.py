"""A dataset and a model come in from the hub, whole and checked, and become entries."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.test import Client

from accounts.models import User
from activity.models import Activity
from registry import storage
from registry.hub.models import Kind, Status
from registry.models import BaseModel, Dataset
from tests.hub.conftest import ROWS, Run
from tests.hub.fake_hub import Content, FakeHub

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_dataset_comes_in_and_is_in_the_registry(hub: FakeHub, brought: Run, home: Path) -> None:
    repo = hub.add("datasets", "ana/rows", {"train.jsonl": ROWS, "README.md": b"# Rows\n"})
    transfer = brought(Kind.HF_DATASET, "ana/rows")
    assert (transfer.status, transfer.failure) == (Status.COMPLETED, None)
    dataset = Dataset.objects.get()
    assert transfer.result == {"kind": "dataset", "id": str(dataset.pk), "name": "rows"}
    assert (Path(dataset.storage_path) / "train.jsonl").read_bytes() == ROWS
    assert (dataset.num_samples, dataset.integrity_passed) == (900, True)
    assert dataset.metadata["source"] == "huggingface"
    assert dataset.metadata["hf_repo_id"] == "ana/rows"
    assert transfer.hf_commit == dataset.metadata["hf_commit"] == repo.refs["main"]
    assert storage.manifest(Path(dataset.storage_path)).keys() == {"train.jsonl", "README.md"}
    assert list((home / "transfers").iterdir()) == []
    assert list(Activity.objects.order_by("cursor").values_list("event_type", flat=True)) == [
        "transfer_started",
        "transfer_completed",
        "dataset_imported",
    ]


def test_it_is_in_the_list_and_in_the_wizard_at_once(
    hub: FakeHub, brought: Run, ana: User, model_files: dict[str, Content]
) -> None:
    """The contract's import flow, from the person's side."""
    hub.add("datasets", "yahma/alpaca-cleaned", {"train.jsonl": ROWS})
    hub.add("models", "ana/tiny", model_files)
    assert brought(Kind.HF_DATASET, "yahma/alpaca-cleaned").status == Status.COMPLETED
    model_id = brought(Kind.HF_MODEL, "ana/tiny").entry_id
    client = Client()
    client.force_login(ana)
    [dataset] = client.get("/api/datasets?q=alpaca").json()["datasets"]
    assert dataset["metadata"]["source"] == "huggingface"
    told = client.get("/api/activity?event_type=dataset_imported").json()["activities"][0]
    assert told["title"] == "Dataset imported: alpaca-cleaned"
    assert told["message"] == (
        "Successfully downloaded dataset from HuggingFace: yahma/alpaca-cleaned"
    )
    assert told["metadata"]["hf_repo_id"] == "yahma/alpaca-cleaned"
    assert told["metadata"]["num_samples"] == 900
    draft = client.get(f"/jobs/new?model={model_id}")["Location"]
    assert "alpaca-cleaned" in client.get(draft, follow=True).content.decode()


def test_a_model_comes_in_without_its_pickles_and_code(
    hub: FakeHub, brought: Run, model_files: dict[str, Content]
) -> None:
    never = {"pytorch_model.bin": b"pickle", "modeling_x.py": b"import os", ".gitattributes": b""}
    hub.add("models", "ana/tiny", {**model_files, **never})
    transfer = brought(Kind.HF_MODEL, "ana/tiny")
    assert (transfer.status, transfer.failure) == (Status.COMPLETED, None)
    model = BaseModel.objects.get()
    assert model.params_b == pytest.approx(2120e-9)
    assert model.hf_revision == transfer.hf_commit
    assert {path.name for path in Path(model.storage_path).iterdir()} == set(model_files)
    assert {file["path"] for file in transfer.left_out} == set(never)
    assert not [asked for asked in hub.asked if asked.path.endswith(tuple(never))]
