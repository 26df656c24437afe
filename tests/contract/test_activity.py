"""The activity feed, sentence by sentence."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from rest_framework.test import APIClient

from tests.contract.sentences import is_utc, is_uuid, listed
from tests.factories import make_activity

pytestmark = pytest.mark.django_db
URL = "/api/activity"
FIELDS = {
    "id", "event_type", "entity_type", "entity_id", "title", "message", "status", "user_id",
    "project_id", "metadata", "read", "created_at",
}  # fmt: skip
EVENT_TYPES = [
    "job_created", "job_started", "job_completed", "job_failed", "job_cancelled",
    "transfer_started", "transfer_completed", "transfer_failed", "dataset_imported",
    "model_created",
]  # fmt: skip
ENTITY_TYPES = ["job", "transfer", "experiment", "dataset", "model"]


def event(**fields: Any) -> dict[str, Any]:
    return {
        "event_type": "job_completed",
        "entity_type": "job",
        "entity_id": str(uuid.uuid4()),
        "title": "Training completed: Llama-2-7B Fine-tune",
        "message": "Successfully completed training job in 2h 34m",
        "status": "success",
        "metadata": {"job_name": "Llama-2-7B Fine-tune", "duration_seconds": 9240},
        **fields,
    }


def post(api: APIClient, path: str, body: Any = None) -> Any:
    return api.post(path, body, format="json")


def test_an_event_that_is_posted_is_answered_with_201_and_whole(api: APIClient) -> None:
    body = event()
    answer = post(api, URL, body)
    assert answer.status_code == 201
    created = answer.json()
    assert set(created) >= FIELDS
    assert {name: created[name] for name in body} == body
    assert is_uuid(created["id"])
    assert is_utc(created["created_at"])
    assert created["read"] is False
    assert listed(api.get(URL), "activities") == [created]


def test_100_are_listed_when_no_limit_is_given(api: APIClient) -> None:
    for _ in range(105):
        make_activity()
    assert len(listed(api.get(URL), "activities")) == 100
    answer = api.get(URL).json()
    assert (answer["total"], answer["limit"], answer["offset"]) == (105, 100, 0)
    assert len(listed(api.get(f"{URL}?offset=100"), "activities")) == 5
    assert len(listed(api.get(f"{URL}?limit=20"), "activities")) == 20


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_every_event_type_is_taken_and_filtered_by(api: APIClient, event_type: str) -> None:
    for other in EVENT_TYPES:
        assert post(api, URL, event(event_type=other)).status_code == 201
    rows = listed(api.get(f"{URL}?event_type={event_type}"), "activities")
    assert [row["event_type"] for row in rows] == [event_type]


@pytest.mark.parametrize("entity_type", ENTITY_TYPES)
def test_every_entity_type_is_taken_and_filtered_by(api: APIClient, entity_type: str) -> None:
    for other in ENTITY_TYPES:
        assert post(api, URL, event(entity_type=other)).status_code == 201
    rows = listed(api.get(f"{URL}?entity_type={entity_type}"), "activities")
    assert [row["entity_type"] for row in rows] == [entity_type]


def test_user_and_project(api: APIClient, ana: Any, project: Any) -> None:
    mine = post(api, URL, event(user_id=str(ana.pk))).json()
    ours = post(api, URL, event(project_id=str(project.pk))).json()
    assert listed(api.get(f"{URL}?user_id={ana.pk}"), "activities") == [mine]
    assert listed(api.get(f"{URL}?project_id={project.pk}"), "activities") == [ours]


def test_marking_one_answers_with_the_whole_activity_read(api: APIClient) -> None:
    created = post(api, URL, event()).json()
    answer = post(api, f"{URL}/{created['id']}/mark-read")
    assert (answer.status_code, answer.json()) == (200, {**created, "read": True})


def test_only_unread(api: APIClient) -> None:
    read, unread = (post(api, URL, event()).json() for _ in range(2))
    post(api, f"{URL}/{read['id']}/mark-read")
    assert listed(api.get(f"{URL}?unread_only=true"), "activities") == [unread]
    assert len(listed(api.get(f"{URL}?unread_only=false"), "activities")) == 2


def test_marking_all_says_how_many_and_takes_neither_user_nor_project(api: APIClient) -> None:
    for _ in range(15):
        post(api, URL, event())
    answer = post(api, f"{URL}/mark-all-read", {})
    assert (answer.status_code, answer.json()) == (200, {"marked_read": 15})
    assert post(api, f"{URL}/mark-all-read", {}).json() == {"marked_read": 0}


def test_marking_all_of_one_project(api: APIClient, project: Any) -> None:
    post(api, URL, event())
    post(api, URL, event(project_id=str(project.pk)))
    body = {"project_id": str(project.pk)}
    assert post(api, f"{URL}/mark-all-read", body).json() == {"marked_read": 1}
    assert len(listed(api.get(f"{URL}?unread_only=true"), "activities")) == 1


def test_marking_all_for_a_user_leaves_the_others_unread(
    api: APIClient, ana: Any, stranger: Any, client_of: Any
) -> None:
    """And counts only what that user sees: the second one is of no project of theirs."""
    post(api, URL, event())
    make_activity()
    body = {"user_id": str(stranger.pk)}
    assert post(api, f"{URL}/mark-all-read", body).json() == {"marked_read": 1}
    assert client_of(stranger).get(f"{URL}?unread_only=true").json()["total"] == 0
    assert client_of(ana).get(f"{URL}?unread_only=true").json()["total"] == 2


def test_marking_all_for_nobody_there_is_refused(api: APIClient) -> None:
    answer = post(api, f"{URL}/mark-all-read", {"user_id": str(uuid.uuid4())})
    assert answer.status_code == 400
    assert set(answer.json()["details"]) == {"user_id"}
