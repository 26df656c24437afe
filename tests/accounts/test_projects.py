"""/api/projects and their members: who may do what, and that a project keeps an owner."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from rest_framework.test import APIClient

from accounts.models import Membership, Project, User
from tests.factories import (
    make_activity,
    make_adapter,
    make_dataset,
    make_job,
    make_model,
    make_recipe,
)

pytestmark = pytest.mark.django_db
ClientOf = Callable[[User], APIClient]


@pytest.fixture
def hers(ana: User) -> Project:
    """Ana's, and nobody else's."""
    project = Project.objects.create(name="Hers")
    Membership.objects.create(project=project, user=ana, role="owner")
    return project


def role_of(user: User, project: Project) -> str | None:
    return Membership.objects.filter(user=user, project=project).values_list("role").get()[0]


def test_whoever_makes_a_project_owns_it(bob: User, client_of: ClientOf) -> None:
    answer = client_of(bob).post("/api/projects", {"name": "New"}, format="json")
    assert answer.status_code == 201
    project = Project.objects.get(pk=answer.json()["id"])
    assert role_of(bob, project) == "owner"


def test_one_sees_ones_own_projects_only(
    bob: User, hers: Project, project: Project, client_of: ClientOf
) -> None:
    listed = client_of(bob).get("/api/projects").json()
    assert [row["id"] for row in listed["projects"]] == [str(project.pk)]
    assert client_of(bob).get(f"/api/projects/{hers.pk}").status_code == 404


def test_an_owner_changes_it_a_member_does_not(
    ana: User, bob: User, viewer: User, project: Project, client_of: ClientOf
) -> None:
    change = {"description": "For dates."}
    for other in (bob, viewer):
        answer = client_of(other).patch(f"/api/projects/{project.pk}", change, format="json")
        assert answer.status_code == 403
        assert answer.json() == {"error": "Only an owner of the project may do this."}
    answer = client_of(ana).patch(f"/api/projects/{project.pk}", change, format="json")
    assert (answer.status_code, answer.json()["description"]) == (200, "For dates.")


def test_a_name_is_taken_once(ana: User, hers: Project, client_of: ClientOf) -> None:
    answer = client_of(ana).post("/api/projects", {"name": "Hers"}, format="json")
    assert (answer.status_code, set(answer.json()["details"])) == (400, {"name"})


@pytest.mark.django_db(transaction=True)
def test_a_name_is_taken_once_also_at_the_same_time(ana: User, client_of: ClientOf) -> None:
    gate, answers = threading.Barrier(6), []

    def make() -> None:
        client = client_of(ana)
        gate.wait()
        try:
            answer = client.post("/api/projects", {"name": "New"}, format="json")
            answers.append(answer.status_code)
        finally:
            connection.close()

    threads = [threading.Thread(target=make) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 6
    assert answers.count(201) == 1
    assert set(answers) <= {201, 400, 409}  # 400 where the first was seen before the write


def test_an_empty_project_is_deleted_with_its_memberships_and_its_feed(
    ana: User, hers: Project, client_of: ClientOf
) -> None:
    make_activity(project=hers)
    assert client_of(ana).delete(f"/api/projects/{hers.pk}").status_code == 204
    assert not Project.objects.filter(pk=hers.pk).exists()


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (make_model, "base models: 1"),
        (make_dataset, "datasets: 1"),
        (make_recipe, "recipes: 1"),
        (make_job, "jobs: 1"),
        (lambda project: make_adapter(make_model(project=project)), "adapters: 1"),
    ],
)
def test_one_with_contents_is_not(
    ana: User, hers: Project, client_of: ClientOf, make: Callable[..., Any], kind: str
) -> None:
    make(project=hers)
    answer = client_of(ana).delete(f"/api/projects/{hers.pk}")
    assert answer.status_code == 409
    assert answer.json()["error"].startswith("Project 'Hers' is not empty (")
    assert kind in answer.json()["error"]
    assert Project.objects.filter(pk=hers.pk).exists()


def test_the_default_project_stays(root: User, project: Project, client_of: ClientOf) -> None:
    answer = client_of(root).delete(f"/api/projects/{project.pk}")
    assert (answer.status_code, answer.json()) == (409, {"error": "The default project stays."})


def test_a_member_is_invited_by_name_or_by_id(
    ana: User, bob: User, stranger: User, hers: Project, client_of: ClientOf
) -> None:
    invite = {"username": "bob"}
    answer = client_of(ana).post(f"/api/projects/{hers.pk}/members", invite, format="json")
    assert answer.status_code == 201
    assert answer.json() == {"user_id": str(bob.pk), "username": "bob", "role": "member"}
    invite = {"user_id": str(stranger.pk), "role": "viewer"}
    client_of(ana).post(f"/api/projects/{hers.pk}/members", invite, format="json")
    listed = client_of(stranger).get(f"/api/projects/{hers.pk}/members").json()
    assert [(row["username"], row["role"]) for row in listed["members"]] == [
        ("ana", "owner"),
        ("bob", "member"),
        ("stranger", "viewer"),
    ]


def test_nobody_is_a_member_twice(ana: User, bob: User, project: Project, client_of: Any) -> None:
    invite = {"username": "bob", "role": "owner"}
    answer = client_of(ana).post(f"/api/projects/{project.pk}/members", invite, format="json")
    assert (answer.status_code, answer.json()) == (409, {"error": "bob is a member already."})
    assert role_of(bob, project) == "member"


@pytest.mark.parametrize(
    "invite",
    [
        {},
        {"username": "nobody"},
        {"username": "a\x00"},
        {"username": ["bob"]},
        {"user_id": "x"},
        {"user_id": str(uuid.uuid4())},
        {"username": "bob", "user_id": str(uuid.uuid4())},
        {"username": "bob", "role": "king"},
        [],
    ],
)
def test_an_invitation_that_cannot_be_is_a_400(
    ana: User, bob: User, hers: Project, client_of: ClientOf, invite: Any
) -> None:
    answer = client_of(ana).post(f"/api/projects/{hers.pk}/members", invite, format="json")
    assert answer.status_code == 400
    assert hers.memberships.count() == 1


def test_only_an_owner_changes_the_members(
    ana: User, bob: User, viewer: User, project: Project, client_of: ClientOf
) -> None:
    members = f"/api/projects/{project.pk}/members"
    for client in (client_of(bob), client_of(viewer)):
        assert client.get(members).status_code == 200
        assert client.post(members, {"username": "root"}, format="json").status_code == 403
        change = {"role": "owner"}
        assert client.patch(f"{members}/{bob.pk}", change, format="json").status_code == 403
        assert client.delete(f"{members}/{ana.pk}").status_code == 403
    assert role_of(bob, project) == "member"


def test_a_role_is_changed_and_a_member_removed(
    ana: User, bob: User, project: Project, client_of: ClientOf
) -> None:
    member = f"/api/projects/{project.pk}/members/{bob.pk}"
    answer = client_of(ana).patch(member, {"role": "viewer"}, format="json")
    assert answer.json() == {"user_id": str(bob.pk), "username": "bob", "role": "viewer"}
    assert client_of(ana).delete(member).status_code == 204
    assert client_of(bob).get(f"/api/projects/{project.pk}").status_code == 404
    assert client_of(ana).delete(member).status_code == 404


def test_a_change_of_role_does_not_put_somebody_else_in(
    ana: User, bob: User, stranger: User, project: Project, client_of: ClientOf
) -> None:
    change = {"role": "viewer", "username": "stranger", "user_id": str(stranger.pk)}
    client_of(ana).patch(f"/api/projects/{project.pk}/members/{bob.pk}", change, format="json")
    assert role_of(bob, project) == "viewer"
    assert not project.memberships.filter(user=stranger).exists()


def test_the_last_owner_stays(ana: User, bob: User, project: Project, client_of: ClientOf) -> None:
    own = f"/api/projects/{project.pk}/members/{ana.pk}"
    says = {"error": "ana is the last owner of 'Default'. Make another one first."}
    for answer in (
        client_of(ana).delete(own),
        client_of(ana).patch(own, {"role": "member"}, format="json"),
    ):
        assert (answer.status_code, answer.json()) == (409, says)
    assert client_of(ana).patch(own, {"role": "owner"}, format="json").status_code == 200
    Membership.objects.filter(user=bob).update(role="owner")
    assert client_of(ana).delete(own).status_code == 204


@pytest.mark.parametrize(
    ("method", "path"),
    [("get", "x"), ("delete", "x"), ("get", "x/members"), ("delete", "{project}/members/x")],
)
def test_an_id_that_is_no_uuid_is_a_400(
    root: User, project: Project, client_of: ClientOf, method: str, path: str
) -> None:
    address = f"/api/projects/{path.format(project=project.pk)}"
    answer = client_of(root).generic(method.upper(), address)
    assert (answer.status_code, answer.json()["error"]) == (400, "id: 'x' is not a UUID.")
