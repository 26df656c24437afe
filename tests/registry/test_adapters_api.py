from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest

from registry import services
from registry.models import Adapter
from tests.factories import make_adapter, make_model
from tests.registry.test_inspect_adapter import write_adapter

FIELDS = {
    "id",
    "project_id",
    "base_model_id",
    "name",
    "description",
    "method",
    "r",
    "lora_alpha",
    "target_modules",
    "storage_path",
    "size_bytes",
    "checksum",
    "tags",
    "metadata",
    "model_card",
    "created_at",
    "updated_at",
}


def test_adapters_are_listed_with_their_base_model(api):
    model = make_model()
    make_adapter(model, name="a")
    make_adapter(name="b", method="qlora")
    body = api.get("/api/adapters").json()
    assert [adapter["name"] for adapter in body["adapters"]] == ["b", "a"]
    assert (body["total"], body["limit"], body["offset"]) == (2, None, 0)
    assert set(body["adapters"][0]) == FIELDS
    assert body["adapters"][1]["base_model_id"] == str(model.pk)


@pytest.mark.parametrize("query", ["method=qlora", "q=SPECIAL", "search=special", "base_model={}"])
def test_the_list_is_narrowed(api, query: str):
    make_adapter()
    wanted = make_adapter(name="special", method="qlora")
    body = api.get(f"/api/adapters?{query.format(wanted.base_model_id)}").json()
    assert [adapter["id"] for adapter in body["adapters"]] == [str(wanted.pk)]


def test_a_base_model_that_is_no_uuid_is_named(api):
    response = api.get("/api/adapters?base_model=7")
    assert response.status_code == 400
    assert response.json()["error"] == "base_model: Enter a valid UUID."


def test_the_detail_has_the_same_fields(api):
    response = api.get(f"/api/adapters/{make_adapter().pk}")
    assert response.status_code == 200
    assert set(response.json()) == FIELDS
    assert api.get(f"/api/adapters/{uuid.uuid4()}").status_code == 404


def test_a_stranger_sees_nothing(client_of, stranger):
    adapter = make_adapter()
    client = client_of(stranger)
    assert client.get("/api/adapters").json()["total"] == 0
    assert client.get(f"/api/adapters/{adapter.pk}").status_code == 404


@pytest.mark.parametrize("count", [1, 12])
def test_the_list_costs_the_same_queries_however_long(
    client_of, ana, count: int, django_assert_num_queries
):
    for _ in range(count):
        make_adapter()
    client = client_of(ana)
    client.get("/api/adapters")
    with django_assert_num_queries(4):  # session, user, count, rows
        client.get("/api/adapters")


@pytest.fixture
def folder(home: Path) -> Path:
    return write_adapter(home / "models" / "adapter")


def body(folder: Path, **more: Any) -> dict[str, Any]:
    return {"name": "mine", "storage_path": str(folder), **more}


def test_a_folder_as_peft_writes_it_is_registered(client_of, ana, folder):
    base = make_model()
    sent = body(folder, base_model_id=str(base.pk), tags=["small"])
    answer = client_of(ana).post("/api/adapters", sent, format="json")
    assert answer.status_code == 201, answer.content
    shown = answer.json()
    assert set(shown) == FIELDS
    assert (shown["method"], shown["r"], shown["lora_alpha"]) == ("lora", 4, 8)
    assert shown["target_modules"] == ["q_proj", "v_proj"]
    assert shown["base_model_id"] == str(base.pk)
    assert shown["metadata"]["inspection"]["params"] == 64
    assert services.verify_files(Adapter.objects.get()) == []


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({}, "base_model_id"),
        ({"base_model_id": "7"}, "base_model_id"),
        ({"base_model_id": str(uuid.uuid4())}, "base_model_id"),
        ({"storage_path": "/etc"}, "storage_path"),
        ({"storage_path": ""}, "storage_path"),
    ],
)
def test_what_is_wrong_is_named(client_of, ana, folder, more, field):
    valid = {} if field == "base_model_id" else {"base_model_id": str(make_model().pk)}
    sent = {**body(folder), **valid, **more}
    answer = client_of(ana).post("/api/adapters", sent, format="json")
    assert (answer.status_code, set(answer.json()["details"])) == (400, {field})


def test_an_adapter_that_does_not_fit_itself_is_refused(client_of, ana, folder):
    write_adapter(folder, rank=2)
    sent = body(folder, base_model_id=str(make_model().pk))
    answer = client_of(ana).post("/api/adapters", sent, format="json")
    assert answer.status_code == 400
    assert "says rank 4" in answer.json()["error"]


def test_another_projects_model_is_none(client_of, stranger, folder):
    sent = body(folder, base_model_id=str(make_model().pk))
    answer = client_of(stranger).post("/api/adapters", sent, format="json")
    assert answer.status_code in (400, 403)
    assert not Adapter.objects.exists()


def test_words_are_changed_and_facts_are_not(client_of, ana):
    adapter = make_adapter()
    address = f"/api/adapters/{adapter.pk}"
    assert client_of(ana).patch(address, {"name": "b"}, format="json").json()["name"] == "b"
    assert client_of(ana).patch(address, {"r": 3}, format="json").status_code == 400
    assert client_of(ana).delete(address).status_code == 204
