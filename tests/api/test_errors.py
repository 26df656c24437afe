"""Every error has the contract's shape, whoever raises it."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError
from rest_framework import exceptions
from rest_framework.test import APIClient

from api.errors import flatten, handle, sentence

pytestmark = pytest.mark.django_db


def test_an_unknown_path_below_api_answers_json(api: APIClient) -> None:
    answer = api.get("/api/nothing-here")
    assert (answer.status_code, answer.json()) == (404, {"error": "Not found."})


def test_a_method_that_does_not_exist_answers_json(api: APIClient) -> None:
    answer = api.delete("/api/activity")
    assert answer.status_code == 405
    assert answer.json() == {"error": 'Method "DELETE" not allowed.'}


def test_a_body_that_is_not_json_is_a_400(api: APIClient) -> None:
    answer = api.post("/api/activity", "{not json", content_type="application/json")
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("JSON parse error")


@pytest.mark.parametrize("body", ["[]", '"text"', "null", "7"])
def test_a_body_of_another_kind_is_a_400(api: APIClient, body: str) -> None:
    answer = api.post("/api/activity", body, content_type="application/json")
    assert answer.status_code == 400
    assert answer.json()["error"]


@pytest.mark.parametrize(
    "value",
    ['"a\\u0000b"', '"\\ud83d"', '{"\\udc00": 1}', "[1e999]", "[" * 101 + "]" * 101],
    ids=["NUL", "half a surrogate pair", "in a key", "infinite", "deep"],
)
def test_what_a_database_could_not_store_is_refused_by_name(api: APIClient, value: str) -> None:
    body = f'{{"event_type": "job_created", "title": "t", "metadata": {{"x": {value}}}}}'
    answer = api.post("/api/activity", body, content_type="application/json")
    assert answer.status_code == 400
    assert list(answer.json()["details"]) == ["metadata"]


@pytest.mark.parametrize("body", ['{"\\udb6f": 1}', "[" * 100_000 + "]" * 100_000])
def test_such_a_name_and_a_bottomless_body_are_refused_too(api: APIClient, body: str) -> None:
    answer = api.post("/api/activity", body, content_type="application/json")
    assert answer.status_code == 400
    assert "lone surrogates" in answer.json()["error"]


def test_nested_errors_are_one_level_with_dotted_names() -> None:
    detail = {"train": {"max_steps": ["Too small."]}, "adapters": [{}, {"adapter_id": ["Bad."]}]}
    flat = flatten(detail)
    assert flat == {"train.max_steps": "Too small.", "adapters[1].adapter_id": "Bad."}
    assert sentence(flat) == "train.max_steps: Too small. adapters[1].adapter_id: Bad."


def test_djangos_own_validation_errors_look_the_same() -> None:
    response = handle(ValidationError({"name": "Taken."}), {})
    assert response is not None
    assert response.status_code == 400
    assert response.data == {"error": "name: Taken.", "details": {"name": "Taken."}}


def test_what_nobody_foresaw_is_left_to_django() -> None:
    assert handle(ZeroDivisionError(), {}) is None
    assert handle(exceptions.Throttled(wait=3), {}) is not None
