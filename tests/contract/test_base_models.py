"""Base models, sentence by sentence."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from rest_framework.test import APIClient

from tests.contract.sentences import is_utc, is_uuid, listed, names
from tests.factories import make_model

pytestmark = pytest.mark.django_db
URL = "/api/base-models"
KINDS: dict[str, type | tuple[type, ...]] = {
    "id": str, "name": str, "family": str, "description": str, "params_b": float, "dtype": str,
    "context_length": int, "hidden_size": int, "num_layers": int, "architecture": str,
    "modality": str, "trainable": bool, "servable": bool, "quantized": bool, "is_gguf": bool,
    "stage": str, "status": str, "storage_path": str, "size_bytes": int, "checksum": str,
    "hf_repo_id": str, "hf_revision": str, "tokenizer_path": str, "vocab_size": int, "tags": list,
    "metadata": dict, "model_card": str, "created_at": str, "updated_at": str,
}  # fmt: skip
WHOLE: dict[str, Any] = {"hidden_size": 64, "num_layers": 2, "vocab_size": 400}


def test_a_model_has_every_field_in_its_kind(api: APIClient) -> None:
    make_model(**WHOLE, tags=["llama"])
    [row] = listed(api.get(URL), "models")
    assert {name: type(row[name]) for name in KINDS} == KINDS
    assert is_uuid(row["id"])
    assert is_utc(row["created_at"])
    assert is_utc(row["updated_at"])


def test_one_model_has_the_same_fields_as_in_the_list(api: APIClient) -> None:
    model = make_model()
    assert api.get(f"{URL}/{model.pk}").json() == listed(api.get(URL), "models")[0]


def test_all_are_listed_when_no_limit_is_given(api: APIClient) -> None:
    for _ in range(120):
        make_model()
    assert len(listed(api.get(URL), "models")) == 120
    assert api.get(URL).json()["limit"] is None


def test_limit_and_offset_page_and_offset_begins_at_0(api: APIClient) -> None:
    for _ in range(5):
        make_model()
    everything = [row["id"] for row in listed(api.get(URL), "models")]
    page = api.get(f"{URL}?limit=2")
    assert (page.json()["total"], page.json()["limit"], page.json()["offset"]) == (5, 2, 0)
    assert [row["id"] for row in listed(page, "models")] == everything[:2]
    last = listed(api.get(f"{URL}?limit=2&offset=4"), "models")
    assert [row["id"] for row in last] == everything[4:]


@pytest.mark.parametrize("family", ["llama", "mistral", "gpt"])
def test_family(api: APIClient, family: str) -> None:
    for other in ("llama", "mistral", "gpt"):
        make_model(name=other, family=other)
    assert names(api.get(f"{URL}?family={family}"), "models") == {family}


@pytest.mark.parametrize("modality", ["text", "image", "audio", "video", "multimodal"])
def test_modality(api: APIClient, modality: str) -> None:
    for other in ("text", "image", "audio", "video", "multimodal"):
        make_model(name=other, modality=other)
    assert names(api.get(f"{URL}?modality={modality}"), "models") == {modality}


@pytest.mark.parametrize("stage", ["staging", "production", "archived"])
def test_stage(api: APIClient, stage: str) -> None:
    for other in ("staging", "production", "archived"):
        make_model(name=other, stage=other)
    assert names(api.get(f"{URL}?stage={stage}"), "models") == {stage}


@pytest.mark.parametrize("parameter", ["trainable", "servable"])
def test_only_trainable_and_only_servable_ones(api: APIClient, parameter: str) -> None:
    yes: dict[str, Any] = {parameter: True}
    no: dict[str, Any] = {parameter: False}
    make_model(name="yes", **yes)
    make_model(name="no", **no)
    assert names(api.get(f"{URL}?{parameter}=true"), "models") == {"yes"}
    assert names(api.get(f"{URL}?{parameter}=false"), "models") == {"no"}


@pytest.mark.parametrize("parameter", ["search", "q"])
@pytest.mark.parametrize("words", ["quokka", "QUOKKA", "uokk"])
def test_search_and_q_look_in_name_description_and_family(
    api: APIClient, parameter: str, words: str
) -> None:
    make_model(name="Quokka-7B")
    make_model(name="b", description="As small as a quokka.")
    make_model(name="c", family="quokka")
    make_model(name="d", architecture="QuokkaForCausalLM")
    assert names(api.get(f"{URL}?{parameter}={words}"), "models") == {"Quokka-7B", "b", "c"}


def test_project(api: APIClient) -> None:
    make_model(name="here")
    elsewhere = api.post("/api/projects", {"name": "Elsewhere"}, format="json").json()["id"]
    body = {"name": "there", "project_id": elsewhere}
    assert api.post(URL, body, format="json").status_code == 201
    assert names(api.get(f"{URL}?project={elsewhere}"), "models") == {"there"}


def test_one_that_is_not_there_is_a_404(api: APIClient) -> None:
    answer = api.get(f"{URL}/{uuid.uuid4()}")
    assert (answer.status_code, answer.json()) == (404, {"error": "Not found."})
