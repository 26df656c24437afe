"""``?project=``, ``?project_id=`` and ``?user_id=`` name what the asker can see, or are a 400."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest
from rest_framework.test import APIClient

from accounts.models import Project, User
from tests.factories import make_activity, make_model

pytestmark = pytest.mark.django_db
ClientOf = Callable[[User], APIClient]
FILTERS = {
    "base-models": "project",
    "datasets": "project",
    "adapters": "project",
    "recipes": "project",
    "experiments": "project",
    "jobs": "project",
    "activity": "project_id",
}


@pytest.mark.parametrize(("plural", "name"), FILTERS.items())
def test_another_project_is_as_unknown_as_none_at_all(
    ana: User, stranger: User, client_of: ClientOf, plural: str, name: str
) -> None:
    theirs = Project.objects.get(name="Elsewhere").pk
    says = {name: "There is no such project, or not for you."}
    for project_id in (theirs, uuid.uuid4()):
        answer = client_of(ana).get(f"/api/{plural}?{name}={project_id}")
        assert (answer.status_code, answer.json()["details"]) == (400, says)
    assert client_of(stranger).get(f"/api/{plural}?{name}={theirs}").status_code == 200


def test_ones_own_project_narrows_the_list(
    viewer: User, project: Project, client_of: ClientOf
) -> None:
    model = make_model(project=project)
    make_model(name="shared")
    make_model(name="nobody's", project=Project.objects.create(name="Elsewhere"))
    found = client_of(viewer).get(f"/api/base-models?project={project.pk}&q={model.name}").json()
    assert [row["id"] for row in found["models"]] == [str(model.pk)]


def test_activities_of_a_colleague_but_not_of_a_stranger(
    ana: User, bob: User, stranger: User, root: User, client_of: ClientOf
) -> None:
    make_activity(user=bob, title="Bob's")
    make_activity(user=ana, title="Ana's")
    for person, title in ((bob, "Bob's"), (ana, "Ana's")):
        found = client_of(ana).get(f"/api/activity?user_id={person.pk}").json()
        assert [row["title"] for row in found["activities"]] == [title]
    for unknown in (stranger.pk, uuid.uuid4()):
        answer = client_of(ana).get(f"/api/activity?user_id={unknown}")
        says = {"user_id": "There is no such person, or not for you."}
        assert (answer.status_code, answer.json()["details"]) == (400, says)
    assert client_of(root).get(f"/api/activity?user_id={stranger.pk}").json()["total"] == 0


def test_only_a_visible_project_is_marked_as_read(
    ana: User, stranger: User, viewer: User, project: Project, client_of: ClientOf
) -> None:
    make_activity(project=project)
    body = {"project_id": str(project.pk)}
    answer = client_of(stranger).post("/api/activity/mark-all-read", body, format="json")
    says = {"project_id": "There is no such project, or not for you."}
    assert (answer.status_code, answer.json()["details"]) == (400, says)
    answer = client_of(viewer).post("/api/activity/mark-all-read", body, format="json")
    assert answer.json() == {"marked_read": 1}
