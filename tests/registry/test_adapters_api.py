from __future__ import annotations

import uuid

import pytest

from tests.factories import make_adapter, make_model

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
