"""What the contract says of all resources: errors, ids, times, paging, search."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from tests.contract.sentences import listed
from tests.factories import (
    make_activity,
    make_dataset,
    make_experiment,
    make_job,
    make_model,
    make_recipe,
)

pytestmark = pytest.mark.django_db
LISTS: dict[str, tuple[str, str, Callable[..., Any]]] = {
    "/api/base-models": ("models", "name", make_model),
    "/api/datasets": ("datasets", "name", make_dataset),
    "/api/activity": ("activities", "title", make_activity),
    "/api/experiments": ("experiments", "name", make_experiment),
    "/api/jobs": ("jobs", "name", make_job),
    "/api/recipes": ("recipes", "name", make_recipe),
}


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("parameter", ["search", "q"])
def test_every_list_can_be_searched(api: APIClient, path: str, parameter: str) -> None:
    plural, field, make = LISTS[path]
    wanted = make(**{field: "quokka"})
    make()
    rows = listed(api.get(f"{path}?{parameter}=quokk"), plural)
    assert [row["id"] for row in rows] == [str(wanted.pk)]


@pytest.mark.parametrize("path", LISTS)
def test_every_list_pages_by_limit_and_offset(api: APIClient, path: str) -> None:
    plural, _, make = LISTS[path]
    for _ in range(3):
        make()
    everything = [row["id"] for row in listed(api.get(path), plural)]
    assert len(everything) >= 3
    pages: list[str] = []
    for offset in range(len(everything)):
        answer = api.get(f"{path}?limit=1&offset={offset}")
        assert (answer.json()["limit"], answer.json()["offset"]) == (1, offset)
        pages += [row["id"] for row in listed(answer, plural)]
    assert pages == everything


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize(("id", "status"), [(uuid.uuid4(), 404), ("42", 400)])
def test_an_error_is_a_sentence(api: APIClient, path: str, id: Any, status: int) -> None:
    answer = api.get(f"{path}/{id}")
    assert answer.status_code == status
    assert isinstance(answer.json()["error"], str)
    assert set(answer.json()) <= {"error", "details"}


@pytest.mark.parametrize("path", ["/api/activity", "/api/jobs", "/api/experiments/preflight"])
def test_a_body_that_lacks_everything_is_a_400(api: APIClient, path: str) -> None:
    answer = api.post(path, {}, format="json")
    assert answer.status_code == 400
    assert "This field is required." in answer.json()["error"]
