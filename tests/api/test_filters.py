"""Parameters behind the "?", the same for every list: an order, and no name that there is not."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest
from rest_framework.test import APIClient

from accounts.models import User
from tests.factories import (
    make_artifact,
    make_checkpoint,
    make_dataset,
    make_event,
    make_job,
    make_metrics,
    make_model,
)
from training.models import Job, Status

pytestmark = pytest.mark.django_db
LISTS = {
    "activity": "created_at",
    "adapters": "name",
    "audit": "timestamp",
    "base-models": "name",
    "datasets": "name",
    "experiments": "name",
    "jobs": "name",
    "partitions": "name",
    "projects": "name",
    "recipes": "name",
    "tokens": "name",
}


def names(answer: object, plural: str) -> list[str]:
    return [row["name"] for row in answer.json()[plural]]  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", LISTS)
def test_every_list_takes_an_order_and_refuses_another(api: APIClient, path: str) -> None:
    field = LISTS[path]
    for value in (field, f"-{field}", f"-{field},{field}", "", ","):
        assert api.get(f"/api/{path}?ordering={value}").status_code == 200
    answer = api.get(f"/api/{path}?ordering=shoe_size")
    assert answer.status_code == 400
    said = answer.json()["details"]["ordering"]
    assert said.startswith("'shoe_size' is not one of ")
    assert f"{field}, -{field}" in said


@pytest.mark.parametrize("path", LISTS)
def test_every_list_refuses_a_parameter_that_there_is_not(api: APIClient, path: str) -> None:
    answer = api.get(f"/api/{path}?limit=1&shoe_size=46")
    assert answer.status_code == 400
    said = answer.json()["error"]
    assert said.startswith("There is no parameter 'shoe_size'. There are: ")
    known = said.removeprefix("There is no parameter 'shoe_size'. There are: ").rstrip(".")
    assert {"limit", "offset", "ordering", "q", "search"} <= set(known.split(", "))
    assert answer.json()["details"] == {"shoe_size": said}


def test_an_order_can_be_turned_round(api: APIClient) -> None:
    for name in "bca":
        make_model(name=name)
    assert names(api.get("/api/base-models?ordering=name"), "models") == [*"abc"]
    assert names(api.get("/api/base-models?ordering=-name"), "models") == [*"cba"]


def test_the_first_field_counts_most(api: APIClient) -> None:
    for name, family in ("ax", "by", "cx"):
        make_model(name=name, family=family)
    answer = api.get("/api/base-models?ordering=family,-name")
    assert names(answer, "models") == [*"cab"]


@pytest.mark.parametrize("ordering", ["num_samples", "-num_samples"])
def test_what_has_no_value_comes_last(api: APIClient, ordering: str) -> None:
    make_dataset(name="none", num_samples=None)
    make_dataset(name="some", num_samples=7)
    answer = api.get(f"/api/datasets?ordering={ordering}")
    assert names(answer, "datasets") == ["some", "none"]


@pytest.mark.parametrize(("ordering", "backwards"), [("family", False), ("-family", True)])
def test_equals_keep_one_order_through_all_pages(
    api: APIClient, ordering: str, backwards: bool
) -> None:
    ids = sorted((str(make_model().pk) for _ in range(7)), reverse=backwards)
    pages = [
        api.get(f"/api/base-models?ordering={ordering}&limit=2&offset={offset}").json()["models"]
        for offset in range(0, 8, 2)
    ]
    assert [row["id"] for page in pages for row in page] == ids


def test_a_choice_that_there_is_not_is_answered_with_those_there_are(api: APIClient) -> None:
    for path, name in [
        ("activity?event_type=x", "event_type"),
        ("activity?entity_type=x", "entity_type"),
        ("jobs?status=x", "status"),
        ("recipes?method=x", "method"),
    ]:
        said = api.get(f"/api/{path}").json()["details"][name]
        assert said.startswith("'x' is not one of "), said


def test_several_statuses_are_any_of_them(api: APIClient) -> None:
    for status in (Status.PENDING, Status.QUEUED, Status.FAILED):
        make_job(name=status, status=status)
    answer = api.get("/api/jobs?status=QUEUED&status=FAILED&ordering=name")
    assert names(answer, "jobs") == ["FAILED", "QUEUED"]


def test_one_object_takes_no_filters(api: APIClient) -> None:
    model = make_model(family="llama")
    assert api.get(f"/api/base-models/{model.pk}").status_code == 200
    answer = api.get(f"/api/base-models/{model.pk}?family=llama")
    assert answer.status_code == 400
    assert answer.json()["error"] == "There is no parameter 'family'. There are none here."


def test_one_dataset_is_compared_with_a_model_too(api: APIClient) -> None:
    path = f"/api/datasets/{make_dataset().pk}?compatible_with_model={make_model().pk}"
    assert api.get(path).json()["compatibility"]["compatible"] is True


# --- The rows of one job -------------------------------------------------------------------------


@pytest.fixture
def job(db: None) -> Job:
    job = make_job(status=Status.RUNNING)
    make_metrics(job, [3.0, 2.0, 1.0])
    make_event(job, "moved")
    make_checkpoint(job, 2)
    make_artifact(job)
    return job


@pytest.mark.parametrize(
    ("rows", "field"),
    [
        ("metrics", "step"),
        ("events", "cursor"),
        ("checkpoints", "step"),
        ("artifacts", "path"),
    ],
)
def test_a_jobs_rows_take_an_order_and_no_strange_parameter(
    api: APIClient, job: Job, rows: str, field: str
) -> None:
    path = f"/api/jobs/{job.pk}/{rows}"
    there = api.get(path).json()[rows]
    turned = api.get(f"{path}?ordering=-{field}").json()[rows]
    assert turned == there[::-1]
    assert there
    assert api.get(f"{path}?name=x").status_code == 400
    assert api.get(f"{path}?ordering=x").status_code == 400


def test_metrics_after_a_cursor_and_thinned_in_any_order(api: APIClient, job: Job) -> None:
    path = f"/api/jobs/{job.pk}/metrics"

    def steps(query: str) -> list[int]:
        return [row["step"] for row in api.get(f"{path}?{query}").json()["metrics"]]

    assert steps("after=1") == [2, 3]
    assert steps("points=2") == [1, 3]
    assert steps("points=2&ordering=-step") == [3, 1]
    assert steps("points=1&after=1") == [3]


@pytest.mark.parametrize("query", ["after=x", "points=-1", "points=1.5", "after=99999999999999"])
def test_what_counts_is_a_whole_number(api: APIClient, job: Job, query: str) -> None:
    name, value = query.split("=")
    answer = api.get(f"/api/jobs/{job.pk}/metrics?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"] == f"{name}: '{value}' is not a whole number of 0 or more."


def test_the_log_takes_an_offset_alone(api: APIClient, job: Job) -> None:
    assert api.get(f"/api/jobs/{job.pk}/logs?offset=0").status_code == 200
    answer = api.get(f"/api/jobs/{job.pk}/logs?limit=1")
    assert answer.json()["error"] == "There is no parameter 'limit'. There are: offset."


def test_a_stranger_learns_nothing_from_a_bad_parameter(
    client_of: Callable[[User], APIClient], stranger: User, job: Job
) -> None:
    """What is said is the same whether the job is there or not."""
    client = client_of(stranger)
    there = client.get(f"/api/jobs/{job.pk}?x=1")
    nowhere = client.get(f"/api/jobs/{uuid.uuid4()}?x=1")
    assert (there.status_code, there.json()) == (nowhere.status_code, nowhere.json())
