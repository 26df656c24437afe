from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest

from activity.models import Activity
from registry.models import BaseModel
from tests.factories import make_adapter, make_experiment, make_model
from tests.registry.files import LLAMA, PARAMS, write_model
from tests.registry.test_inspect_gguf import write_gguf

FIELDS = {
    "id",
    "name",
    "family",
    "description",
    "params_b",
    "dtype",
    "context_length",
    "hidden_size",
    "num_layers",
    "architecture",
    "modality",
    "trainable",
    "servable",
    "quantized",
    "is_gguf",
    "stage",
    "status",
    "storage_path",
    "size_bytes",
    "checksum",
    "hf_repo_id",
    "hf_revision",
    "tokenizer_path",
    "vocab_size",
    "tags",
    "metadata",
    "model_card",
    "created_at",
    "updated_at",
}


def names(response: Any) -> list[str]:
    assert response.status_code == 200, response.json()
    return [model["name"] for model in response.json()["models"]]


# --- Listing -------------------------------------------------------------------------------------


def test_the_list_has_the_contracts_envelope_and_fields(api, project):
    make_model(name="a")
    body = api.get("/api/base-models").json()
    assert {key: body[key] for key in ("total", "limit", "offset")} == {
        "total": 1,
        "limit": None,
        "offset": 0,
    }
    assert set(body["models"][0]) == FIELDS | {"project_id"}
    assert body["models"][0]["project_id"] == str(project.pk)


def test_the_newest_comes_first_and_limit_and_offset_page(api):
    for name in "abcd":
        make_model(name=name)
    assert names(api.get("/api/base-models")) == ["d", "c", "b", "a"]
    assert names(api.get("/api/base-models?limit=2&offset=1")) == ["c", "b"]
    assert api.get("/api/base-models?limit=2&offset=1").json()["total"] == 4
    assert names(api.get("/api/base-models?limit=0")) == []


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("family=mistral", ["b"]),
        ("modality=image", ["b"]),
        ("stage=production", ["b"]),
        ("trainable=false", ["b"]),
        ("trainable=true", ["c", "a"]),
        ("servable=0", ["b"]),
        ("search=RARE", ["a"]),
        ("q=mist", ["b"]),
        ("q=b", ["b"]),
        ("q=rare&family=mistral", []),
        ("stage=production&modality=image", ["b"]),
        ("family=", ["c", "b", "a"]),
    ],
)
def test_the_list_is_narrowed(api, query: str, expected: list[str]):
    make_model(name="a", description="a Rare one")
    make_model(
        name="b",
        family="mistral",
        modality="image",
        stage="production",
        trainable=False,
        servable=False,
    )
    make_model(name="c")
    assert names(api.get(f"/api/base-models?{query}")) == expected


def test_the_list_is_narrowed_to_a_project(api, project, stranger):
    elsewhere = stranger.memberships.get().project
    make_model(name="here")
    make_model(name="there", project=elsewhere)
    assert names(api.get(f"/api/base-models?project={elsewhere.pk}")) == ["there"]
    unknown = api.get(f"/api/base-models?project={uuid.uuid4()}")
    assert (unknown.status_code, unknown.json()["error"]) == (
        400,
        "project: There is no such project, or not for you.",
    )


@pytest.mark.parametrize(
    ("query", "says"),
    [
        (
            "modality=smell",
            "modality: 'smell' is not one of text, image, audio, video, multimodal.",
        ),
        ("stage=prod", "stage: 'prod' is not one of staging, production, archived."),
        ("trainable=maybe", "trainable: 'maybe' is not true or false."),
        ("servable=2", "servable: '2' is not true or false."),
        ("project=1", "project: “1” is not a valid UUID."),
        ("limit=-1", "limit: '-1' is not a whole number of 0 or more."),
        ("limit=ten", "limit: 'ten' is not a whole number of 0 or more."),
        ("offset=1.5", "offset: '1.5' is not a whole number of 0 or more."),
        ("q=%00", "q: Null characters are not allowed."),
    ],
)
def test_a_value_that_cannot_be_is_named(api, query: str, says: str):
    response = api.get(f"/api/base-models?{query}")
    assert response.status_code == 400
    assert response.json()["error"] == says


@pytest.mark.parametrize("count", [1, 12])
def test_the_list_costs_the_same_queries_however_long(
    client_of, ana, count: int, django_assert_num_queries
):
    for _ in range(count):
        make_model()
    client = client_of(ana)
    client.get("/api/base-models?q=llama")  # a process asks once for the index of words
    with django_assert_num_queries(4):  # session, user, count, rows
        client.get("/api/base-models?q=llama")


# --- One model -----------------------------------------------------------------------------------


def test_the_detail_has_the_same_fields(api):
    model = make_model()
    response = api.get(f"/api/base-models/{model.pk}")
    assert response.status_code == 200
    assert set(response.json()) == FIELDS | {"project_id"}
    assert response.json()["id"] == str(model.pk)


def test_an_unknown_id_is_404_and_a_bad_one_400(api):
    assert api.get(f"/api/base-models/{uuid.uuid4()}").status_code == 404
    response = api.get("/api/base-models/seven")
    assert response.status_code == 400
    assert response.json()["error"] == "id: 'seven' is not a UUID."


def test_a_stranger_sees_nothing(client_of, stranger):
    model = make_model()
    client = client_of(stranger)
    path = f"/api/base-models/{model.pk}"
    assert names(client.get("/api/base-models")) == []
    assert client.get(path).status_code == 404
    assert client.patch(path, {"name": "x"}, format="json").status_code == 404
    assert client.delete(path).status_code == 404


def test_everybody_sees_what_belongs_to_no_project(client_of, stranger, ana):
    model = BaseModel.objects.create(name="shared")
    client = client_of(stranger)
    assert names(client.get("/api/base-models")) == ["shared"]
    response = client.patch(f"/api/base-models/{model.pk}", {"name": "x"}, format="json")
    assert response.status_code == 403


def test_a_viewer_looks_and_does_not_touch(client_of, viewer):
    model = make_model(name="a")
    client = client_of(viewer)
    path = f"/api/base-models/{model.pk}"
    assert client.get(path).status_code == 200
    assert client.patch(path, {"name": "x"}, format="json").status_code == 403
    assert client.delete(path).status_code == 403
    assert client.post("/api/base-models", {"name": "x"}, format="json").status_code == 403
    assert list(BaseModel.objects.values_list("name", flat=True)) == ["a"]


# --- Registering ---------------------------------------------------------------------------------


def test_a_model_folder_is_inspected_and_registered(client_of, ana, project, tiny):
    response = client_of(ana).post(
        "/api/base-models",
        {"name": "Tiny", "storage_path": str(tiny), "tags": ["small"], "metadata": {"by": "ana"}},
        format="json",
    )
    assert response.status_code == 201, response.json()
    body = response.json()
    expected = {
        "project_id": str(project.pk),
        "family": "llama",
        "params_b": PARAMS / 1e9,
        "dtype": "fp16",
        "context_length": 64,
        "hidden_size": 8,
        "num_layers": 2,
        "vocab_size": 100,
        "architecture": "LlamaForCausalLM",
        "modality": "text",
        "trainable": True,
        "servable": True,
        "quantized": False,
        "is_gguf": False,
        "stage": "staging",
        "status": "active",
        "storage_path": str(tiny),
        "tokenizer_path": str(tiny),
        "size_bytes": sum(path.stat().st_size for path in tiny.iterdir()),
        "tags": ["small"],
    }
    assert {key: body[key] for key in expected} == expected
    assert len(body["checksum"]) == 64
    assert body["model_card"].endswith("# Tiny\n")
    assert body["metadata"]["by"] == "ana"
    assert body["metadata"]["config"] == LLAMA
    assert body["metadata"]["inspection"] == {
        "params": PARAMS,
        "dtypes": {"fp16": PARAMS},
        "quantization": None,
        "has_tokenizer": True,
        "has_chat_template": True,
        "weight_files": ["model.safetensors"],
        "tokenizer": {
            "kind": "fast",
            "size": None,
            "loads": False,
            "special": {},
            "template_renders": None,
        },
        "code": None,
        "findings": [
            {
                "code": "tokenizer_does_not_load",
                "message": "tokenizer.json cannot be loaded: it has no model.",
                "fix": "Download the tokenizer's files again, or take them from the original "
                "model.",
                "level": "error",
                "file": "tokenizer.json",
            }
        ],
        "license": "mit",
        "base_model": [],
        "languages": [],
    }


def test_a_registered_model_is_told_in_the_feed(client_of, ana, project, tiny):
    body = (
        client_of(ana)
        .post("/api/base-models", {"name": "Tiny", "storage_path": "tiny"}, format="json")
        .json()
    )
    told = Activity.objects.get()
    assert (told.event_type, told.entity_type) == ("model_created", "model")
    assert (str(told.entity_id), told.user, told.project) == (body["id"], ana, project)
    assert told.metadata["model_id"] == body["id"]


def test_files_stand_above_what_is_said_of_them_and_words_do_not(api, tiny):
    body = api.post(
        "/api/base-models",
        {
            "name": "Tiny",
            "storage_path": "tiny",
            "params_b": 70,
            "dtype": "fp4",
            "context_length": 1,
            "is_gguf": True,
            "size_bytes": 1,
            "family": "mine",
            "stage": "production",
            "trainable": False,
            "metadata": {"inspection": {"params": 1}, "config": {"hidden_size": 1}},
        },
        format="json",
    ).json()
    assert (body["params_b"], body["dtype"], body["context_length"]) == (PARAMS / 1e9, "fp16", 64)
    assert body["is_gguf"] is False
    assert body["size_bytes"] > 1
    assert (body["family"], body["stage"], body["trainable"]) == ("mine", "production", False)
    assert body["metadata"]["inspection"]["params"] == PARAMS
    assert body["metadata"]["config"] == LLAMA


def test_a_config_alone_gives_the_shape(api):
    body = api.post(
        "/api/base-models",
        {"name": "Planned", "params_b": 7, "metadata": {"config": LLAMA}},
        format="json",
    ).json()
    assert (body["hidden_size"], body["num_layers"], body["dtype"]) == (8, 2, "fp32")
    assert (body["family"], body["params_b"], body["storage_path"]) == ("llama", 7.0, "")
    assert body["checksum"] == ""


def test_without_files_the_given_numbers_are_taken(api):
    given = {
        "name": "Llama-2-7B",
        "family": "llama",
        "params_b": 7.0,
        "dtype": "bf16",
        "context_length": 4096,
        "hidden_size": 4096,
        "num_layers": 32,
        "vocab_size": 32000,
        "architecture": "transformer",
        "size_bytes": 13900000000,
        "hf_repo_id": "meta-llama/Llama-2-7b-hf",
        "hf_revision": "main",
    }
    response = api.post("/api/base-models", given, format="json")
    assert response.status_code == 201
    assert {key: response.json()[key] for key in given} == given


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": "x\x00"}, "name"),
        ({"name": "x", "modality": "smell"}, "modality"),
        ({"name": "x", "stage": "gone"}, "stage"),
        ({"name": "x", "params_b": -1}, "params_b"),
        ({"name": "x", "hidden_size": "wide"}, "hidden_size"),
        ({"name": "x", "tags": "a"}, "tags"),
        ({"name": "x", "tags": [{"a": 1}]}, "tags[0]"),
        ({"name": "x", "metadata": []}, "metadata"),
        ({"name": "x", "metadata": {"a": "\x00"}}, "metadata"),
        ({"name": "x", "metadata": {"config": []}}, "metadata.config"),
        ({"name": "x", "project_id": "seven"}, "project_id"),
        ({"name": "x", "project_id": str(uuid.uuid4())}, "project_id"),
        ({"name": "x", "storage_path": "/etc"}, "storage_path"),
        ({"name": "x", "storage_path": "nowhere"}, "storage_path"),
        ({"name": "x", "tokenizer_path": "/etc"}, "tokenizer_path"),
    ],
)
def test_what_cannot_be_registered_is_a_sentence_about_its_field(api, home, given, field: str):
    response = api.post("/api/base-models", given, format="json")
    assert response.status_code == 400
    assert field in response.json()["details"]
    assert not BaseModel.objects.exists()
    assert list((home / "models").iterdir()) == []


def test_a_folder_that_is_no_model_leaves_nothing_behind(api, home: Path):
    (home / "models" / "empty").mkdir()
    response = api.post("/api/base-models", {"name": "x", "storage_path": "empty"}, format="json")
    assert response.status_code == 400
    assert "no config.json in" in response.json()["error"]
    assert not BaseModel.objects.exists()
    assert not Activity.objects.exists()
    assert [path.name for path in (home / "models").iterdir()] == ["empty"]


def test_a_link_out_of_the_roots_is_not_read(api, home: Path, tiny: Path):
    (tiny / "config.json").unlink()
    (tiny / "config.json").symlink_to("/etc/passwd")
    response = api.post("/api/base-models", {"name": "x", "storage_path": "tiny"}, format="json")
    assert response.status_code == 400
    assert "outside the storage roots" in response.json()["error"]


def test_the_project_is_the_default_one_unless_said_otherwise(client_of, root, project):
    client = client_of(root)
    left_out = client.post("/api/base-models", {"name": "a"}, format="json")
    none = client.post("/api/base-models", {"name": "b", "project_id": None}, format="json")
    assert left_out.json()["project_id"] == str(project.pk)
    assert none.json()["project_id"] is None


def test_only_staff_shares_with_everybody(client_of, ana):
    response = client_of(ana).post(
        "/api/base-models", {"name": "b", "project_id": None}, format="json"
    )
    assert response.status_code == 403


def test_nobody_registers_into_a_strangers_project(client_of, ana, stranger):
    elsewhere = stranger.memberships.get().project
    response = client_of(ana).post(
        "/api/base-models", {"name": "b", "project_id": str(elsewhere.pk)}, format="json"
    )
    assert response.status_code == 400
    assert "project_id" in response.json()["details"]


def test_what_a_job_has_exported_is_not_taken_by_its_path(client_of, ana, home: Path):
    write_model(home / "exports" / str(uuid.uuid4()) / "safetensors")
    folder = next((home / "exports").iterdir()) / "safetensors"
    given = {"name": "mine now", "storage_path": str(folder)}
    response = client_of(ana).post("/api/base-models", given, format="json")
    assert response.status_code == 400
    assert "belongs to an entry" in response.json()["error"]


# --- Changing and deleting -----------------------------------------------------------------------


def test_words_about_a_model_are_changed(client_of, ana):
    model = make_model()
    changes = {
        "name": "Better",
        "description": "d",
        "stage": "production",
        "tags": ["a"],
        "trainable": False,
    }
    response = client_of(ana).patch(f"/api/base-models/{model.pk}", changes, format="json")
    assert response.status_code == 200
    model.refresh_from_db()
    assert {key: getattr(model, key) for key in changes} == changes


def test_facts_from_files_are_not_changed_by_hand(api, tiny):
    made = api.post("/api/base-models", {"name": "x", "storage_path": "tiny"}, format="json").json()
    path = f"/api/base-models/{made['id']}"
    for change in (
        {"params_b": 7},
        {"storage_path": "/x"},
        {"checksum": "0"},
        {"status": "broken"},
    ):
        response = api.patch(path, change, format="json")
        assert response.status_code == 400, change
        assert list(response.json()["details"]) == list(change)
    assert api.patch(path, {**made, "name": "y"}, format="json").json()["name"] == "y"


def test_the_metadata_of_an_inspection_survives_a_change(api, tiny):
    made = api.post("/api/base-models", {"name": "x", "storage_path": "tiny"}, format="json").json()
    body = api.patch(
        f"/api/base-models/{made['id']}",
        {"metadata": {"note": "n", "config": {}, "inspection": {}}},
        format="json",
    ).json()
    assert body["metadata"] == {**made["metadata"], "note": "n"}


def test_a_gguf_model_is_never_trainable(api, home: Path):
    write_gguf(home / "models" / "q4.gguf")
    given = {"name": "x", "storage_path": "q4.gguf", "trainable": True}
    made = api.post("/api/base-models", given, format="json").json()
    assert (made["is_gguf"], made["trainable"]) == (True, False)
    response = api.patch(f"/api/base-models/{made['id']}", {"trainable": True}, format="json")
    assert response.status_code == 400


def test_a_model_is_deleted_and_its_files_stay(
    api, tiny, home: Path, django_capture_on_commit_callbacks
):
    made = api.post("/api/base-models", {"name": "x", "storage_path": "tiny"}, format="json").json()
    assert len(list((home / "models").iterdir())) == 3  # with its manifest, and how they looked
    with django_capture_on_commit_callbacks(execute=True):
        assert api.delete(f"/api/base-models/{made['id']}").status_code == 204
    assert not BaseModel.objects.exists()
    assert list((home / "models").iterdir()) == [tiny]
    assert (tiny / "model.safetensors").exists()


def test_a_model_in_use_is_not_deleted(api):
    experiment = make_experiment(name="careful")
    response = api.delete(f"/api/base-models/{experiment.base_model_id}")
    assert response.status_code == 409
    assert "careful" in response.json()["error"]
    adapter = make_adapter()
    assert api.delete(f"/api/base-models/{adapter.base_model_id}").status_code == 409


def test_put_is_not_offered(api):
    assert api.put(f"/api/base-models/{make_model().pk}", {}, format="json").status_code == 405
