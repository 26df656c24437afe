"""Datasets and their compatibility with a model, sentence by sentence."""

from __future__ import annotations

import pytest
from rest_framework.test import APIClient

from tests.contract.sentences import is_utc, is_uuid, listed, names
from tests.factories import make_dataset, make_model

pytestmark = pytest.mark.django_db
URL = "/api/datasets"
KINDS: dict[str, type] = {
    "id": str, "project_id": str, "name": str, "version": str, "description": str,
    "modality": str, "size_bytes": int, "num_samples": int, "manifest_path": str,
    "storage_path": str, "checksum": str, "integrity_checked": bool, "integrity_passed": bool,
    "integrity_report": dict, "statistics": dict, "tags": list, "metadata": dict,
    "created_at": str, "updated_at": str,
}  # fmt: skip


def test_a_dataset_has_every_field_in_its_kind(api: APIClient) -> None:
    make_dataset(statistics={"splits": ["train", "test"], "num_splits": 2})
    [row] = listed(api.get(URL), "datasets")
    assert {name: type(value) for name, value in row.items()} == KINDS
    assert is_uuid(row["id"])
    assert is_uuid(row["project_id"])
    assert is_utc(row["created_at"])
    assert is_utc(row["updated_at"])
    assert row["statistics"] == {"splits": ["train", "test"], "num_splits": 2}


def test_limit_and_offset_page_and_offset_begins_at_0(api: APIClient) -> None:
    for name in "abc":
        make_dataset(name=name)
    page = api.get(f"{URL}?limit=1").json()
    assert (page["total"], page["limit"], page["offset"]) == (3, 1, 0)
    assert [row["name"] for row in listed(api.get(f"{URL}?limit=2&offset=1"), "datasets")] == [
        *"ba"
    ]


@pytest.mark.parametrize("modality", ["text", "image", "audio", "video", "multimodal"])
def test_modality(api: APIClient, modality: str) -> None:
    for other in ("text", "image", "audio", "video", "multimodal"):
        make_dataset(name=other, modality=other)
    assert names(api.get(f"{URL}?modality={modality}"), "datasets") == {modality}


@pytest.mark.parametrize("parameter", ["search", "q"])
def test_search_and_q_look_in_name_and_description(api: APIClient, parameter: str) -> None:
    make_dataset(name="Alpaca-cleaned")
    make_dataset(name="b", description="alpaca, once more")
    make_dataset(name="c", tags=["alpaca"])
    found = names(api.get(f"{URL}?{parameter}=alpaca"), "datasets")
    assert found == {"Alpaca-cleaned", "b"}


def test_project(api: APIClient) -> None:
    dataset = make_dataset(name="here")
    elsewhere = api.post("/api/projects", {"name": "Elsewhere"}, format="json").json()["id"]
    assert names(api.get(f"{URL}?project={dataset.project_id}"), "datasets") == {"here"}
    assert names(api.get(f"{URL}?project={elsewhere}"), "datasets") == set()


def test_without_a_model_nothing_is_said_of_compatibility(api: APIClient) -> None:
    make_dataset()
    assert "compatibility" not in listed(api.get(URL), "datasets")[0]


def test_with_a_model_each_dataset_says_whether_it_suits(api: APIClient) -> None:
    make_dataset(name="good", statistics={"splits": ["train"]})
    make_dataset(name="picture", modality="image")
    make_dataset(name="broken", integrity_passed=False)
    rows = listed(api.get(f"{URL}?compatible_with_model={make_model().pk}"), "datasets")
    said = {row["name"]: row["compatibility"] for row in rows}
    assert set(said) == {"good", "picture", "broken"}
    for judged in said.values():
        assert set(judged) == {"compatible", "warnings", "errors"}
    assert said["good"]["compatible"] is True
    assert said["good"]["errors"] == []
    assert said["good"]["warnings"] == [
        "There is no validation split, so overfitting will not be seen."
    ]
    assert said["picture"]["compatible"] is False
    assert len(said["picture"]["errors"]) == 1
    assert said["broken"]["errors"] == [
        "Dataset failed integrity check. Please review and fix dataset issues before training."
    ]
