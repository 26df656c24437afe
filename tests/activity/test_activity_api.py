"""GET and POST /api/activity, and the read marks, as in the contract."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts.models import Project, User
from activity.models import Activity
from tests.factories import make_activity

pytestmark = pytest.mark.django_db
ClientOf = Callable[[User], APIClient]


def test_the_feed_comes_newest_first_in_the_envelope(ana: User, client_of: ClientOf) -> None:
    rows = [make_activity(title=f"number {n}") for n in range(3)]
    answer = client_of(ana).get("/api/activity").json()
    assert [row["id"] for row in answer["activities"]] == [str(row.pk) for row in reversed(rows)]
    assert (answer["total"], answer["limit"], answer["offset"]) == (3, 100, 0)
    assert set(answer["activities"][0]) == {
        "id", "event_type", "entity_type", "entity_id", "title", "message", "status", "user_id",
        "project_id", "metadata", "read", "cursor", "created_at",
    }  # fmt: skip


def test_limit_and_offset_page_through_it(ana: User, client_of: ClientOf) -> None:
    for n in range(5):
        make_activity(title=f"number {n}")
    answer = client_of(ana).get("/api/activity?limit=2&offset=3").json()
    assert [row["title"] for row in answer["activities"]] == ["number 1", "number 0"]
    assert (answer["total"], answer["limit"], answer["offset"]) == (5, 2, 3)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("event_type=job_failed", ["failed"]),
        ("entity_type=dataset", ["imported"]),
        ("unread_only=true", ["failed", "imported"]),
        ("unread_only=false", ["failed", "imported", "read"]),
        ("status=error", ["failed"]),
        ("after=2", ["read"]),
        ("created_after=2026-02-01T00:00:00Z", ["imported", "read"]),
        ("created_before=2026-02-01T00:00:00Z", ["failed"]),
    ],
)
def test_filters(ana: User, client_of: ClientOf, query: str, names: list[str]) -> None:
    failed = make_activity(title="failed", event_type="job_failed", status="error")
    Activity.objects.filter(pk=failed.pk).update(created_at="2026-01-31T23:59:59Z")
    make_activity(title="imported", event_type="dataset_imported", entity_type="dataset")
    read = make_activity(title="read")
    client = client_of(ana)
    client.post(f"/api/activity/{read.pk}/mark-read")
    found = client.get(f"/api/activity?{query}").json()["activities"]
    assert sorted(row["title"] for row in found) == names


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("event_type=job_dreamt", "event_type"),
        ("entity_type=cat", "entity_type"),
        ("user_id=42", "user_id"),
        ("project_id=x", "project_id"),
        ("unread_only=perhaps", "unread_only"),
        ("status=purple", "status"),
        ("after=x", "after"),
        ("created_after=soon", "created_after"),
        ("limit=-1", "limit"),
        ("limit=many", "limit"),
        ("offset=99999999999999999999", "offset"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_name(
    ana: User, client_of: ClientOf, query: str, field: str
) -> None:
    answer = client_of(ana).get(f"/api/activity?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(f"{field}:")
    assert set(answer.json()["details"]) == {field}


def test_an_event_can_be_posted(ana: User, project: Project, client_of: ClientOf) -> None:
    body = {
        "event_type": "job_completed",
        "entity_type": "job",
        "entity_id": str(uuid.uuid4()),
        "title": "Training completed: Llama-2-7B Fine-tune",
        "message": "Successfully completed training job in 2h 34m",
        "status": "success",
        "user_id": str(ana.pk),
        "project_id": str(project.pk),
        "metadata": {"duration_seconds": 9240},
    }
    answer = client_of(ana).post("/api/activity", body, format="json")
    assert answer.status_code == 201
    assert {**answer.json(), **body} == answer.json()
    assert answer.json()["read"] is False
    assert Activity.objects.get().title == body["title"]


def test_nothing_is_written_of_an_event_that_is_wrong(ana: User, client_of: ClientOf) -> None:
    body = {"event_type": "nonsense", "entity_type": "job", "title": "x"}
    answer = client_of(ana).post("/api/activity", body, format="json")
    assert answer.status_code == 400
    assert "event_type" in answer.json()["details"]
    assert not Activity.objects.exists()


def test_nobody_writes_in_the_name_of_another(ana: User, bob: User, client_of: ClientOf) -> None:
    body = {"event_type": "job_created", "entity_type": "job", "title": "x", "user_id": bob.pk}
    assert client_of(ana).post("/api/activity", body, format="json").status_code == 400


def test_marking_one_counts_for_the_reader_alone(ana: User, bob: User, client_of: ClientOf) -> None:
    activity = make_activity()
    answer = client_of(ana).post(f"/api/activity/{activity.pk}/mark-read")
    assert (answer.status_code, answer.json()["read"]) == (200, True)
    assert client_of(ana).get("/api/activity").json()["activities"][0]["read"] is True
    assert client_of(bob).get("/api/activity").json()["activities"][0]["read"] is False


def test_marking_all_says_how_many_were_unread(ana: User, client_of: ClientOf) -> None:
    for _ in range(4):
        make_activity()
    client = client_of(ana)
    client.post(f"/api/activity/{Activity.objects.all()[0].pk}/mark-read")
    assert client.post("/api/activity/mark-all-read", {}, format="json").json() == {
        "marked_read": 3
    }
    assert client.get("/api/activity?unread_only=true").json()["total"] == 0
    assert client.post("/api/activity/mark-all-read").json() == {"marked_read": 0}


def test_marking_all_of_one_project_leaves_the_others(
    root: User, project: Project, client_of: ClientOf
) -> None:
    make_activity()
    other = make_activity(project=Project.objects.create(name="Other"))
    body = {"project_id": str(project.pk)}
    answer = client_of(root).post("/api/activity/mark-all-read", body, format="json")
    assert answer.json() == {"marked_read": 1}
    unread = client_of(root).get("/api/activity?unread_only=true").json()["activities"]
    assert [row["id"] for row in unread] == [str(other.pk)]


def test_a_stranger_sees_and_marks_nothing(stranger: User, client_of: ClientOf) -> None:
    activity = make_activity()
    client = client_of(stranger)
    assert client.get("/api/activity").json()["total"] == 0
    assert client.get(f"/api/activity/{activity.pk}").status_code == 404
    assert client.post(f"/api/activity/{activity.pk}/mark-read").status_code == 404


@pytest.mark.parametrize(
    ("id", "status"), [(str(uuid.UUID(int=1)), 404), ("42", 400), ("x y", 400)]
)
def test_an_id_that_is_not_there_and_one_that_is_none(
    ana: User, client_of: ClientOf, id: str, status: int
) -> None:
    answer = client_of(ana).post(f"/api/activity/{id}/mark-read")
    assert answer.status_code == status
    assert "error" in answer.json()


def test_the_list_costs_the_same_queries_however_long_it_is(
    ana: User, client_of: ClientOf, django_assert_num_queries: Any
) -> None:
    client = client_of(ana)
    for _ in range(30):
        make_activity(user=ana)
    client.get("/api/activity")
    with django_assert_num_queries(4):  # session, user, count, rows
        client.get("/api/activity")


@pytest.mark.parametrize(
    "query", ["unread_only=true", "entity_type=job&limit=2", "limit=2&offset=3"]
)
def test_no_filter_costs_a_further_query(
    ana: User, client_of: ClientOf, query: str, django_assert_num_queries: Any
) -> None:
    client = client_of(ana)
    for _ in range(6):
        make_activity(user=ana)
    client.get(f"/api/activity?{query}")
    with django_assert_num_queries(4):  # session, user, count, rows
        client.get(f"/api/activity?{query}")


def test_a_page_has_the_read_marks_of_its_reader(ana: User, client_of: ClientOf) -> None:
    client = client_of(ana)
    read, unread = make_activity(user=ana), make_activity(user=ana)
    client.post(f"/api/activity/{read.pk}/mark-read")
    page = client.get("/api/activity?limit=2").json()["activities"]
    assert {row["id"]: row["read"] for row in page} == {str(read.pk): True, str(unread.pk): False}
