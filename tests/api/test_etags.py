"""ETag of one object; If-None-Match saves an answer, If-Match a lost change."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient, APIRequestFactory, force_authenticate

from accounts.api.views import ProjectViewSet
from accounts.models import Membership, Project, User
from tests.factories import (
    make_adapter,
    make_artifact,
    make_dataset,
    make_experiment,
    make_job,
    make_lease,
    make_metrics,
    make_model,
    make_recipe,
    make_worker,
)
from training.models import Status

pytestmark = pytest.mark.django_db
ClientOf = Callable[[User], APIClient]


def own_project(ana: User) -> Project:
    """One that Ana can delete."""
    project = Project.objects.create(name="hers")
    Membership.objects.create(project=project, user=ana, role=Membership.Role.OWNER)
    return project


MAKE: dict[str, Callable[[User], Any]] = {
    "base-models": lambda ana: make_model(metadata={"b": 1, "a": {"z": 2, "y": 0.5}}),
    "datasets": lambda ana: make_dataset(),
    "adapters": lambda ana: make_adapter(),
    "recipes": lambda ana: make_recipe(),
    "projects": own_project,
    "experiments": lambda ana: make_experiment(),
    "jobs": lambda ana: make_job(),
}
every_kind = pytest.mark.parametrize("kind", MAKE)
what_people_change = pytest.mark.parametrize(
    "kind", ["base-models", "datasets", "recipes", "projects"]
)


@dataclass
class Thing:
    client: APIClient
    path: str

    def get(self, **headers: str) -> Any:
        return self.client.get(self.path, headers=headers)

    def etag(self) -> str:
        return str(self.get()["ETag"])

    def patch(self, if_match: str | None = None, **body: Any) -> Any:
        headers = {"If-Match": if_match} if if_match is not None else {}
        return self.client.patch(self.path, body, format="json", headers=headers)

    def delete(self, if_match: str) -> Any:
        return self.client.delete(self.path, headers={"If-Match": if_match})


@pytest.fixture
def thing(kind: str, ana: User, client_of: ClientOf) -> Thing:
    return Thing(client_of(ana), f"/api/{kind}/{MAKE[kind](ana).pk}")


# --- Reading -------------------------------------------------------------------------------------


@every_kind
def test_who_has_it_already_does_not_get_it_again(thing: Thing) -> None:
    first = thing.get()
    tag = first["ETag"]
    assert (first.status_code, tag[0], tag[-1]) == (200, '"', '"')
    for known in (tag, f"W/{tag}", f'"another", {tag}', "*"):
        again = thing.get(**{"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b"")
        assert again["ETag"] == tag
    for unknown in ('"another"', "", tag.strip('"'), tag.upper()):
        assert thing.get(**{"If-None-Match": unknown}).json() == first.json()
    head = thing.client.head(thing.path, headers={"If-None-Match": tag})
    assert head.status_code == 304


@every_kind
def test_it_costs_no_further_query(thing: Thing) -> None:
    with CaptureQueriesContext(connection) as plain:
        tag = thing.etag()
    with CaptureQueriesContext(connection) as conditional:
        thing.get(**{"If-None-Match": tag})
    assert len(conditional) == len(plain)


@every_kind
def test_a_stranger_learns_nothing_by_a_tag(
    thing: Thing, kind: str, stranger: User, client_of: ClientOf
) -> None:
    other = Thing(client_of(stranger), thing.path)
    assert other.get(**{"If-None-Match": "*"}).status_code == 404


def test_a_304_is_sent_without_a_body(ana: User, project: Project) -> None:
    """Django's test client would take one off, and a server would break the connection."""
    request = APIRequestFactory().get("/", headers={"If-None-Match": "*"})
    force_authenticate(request, ana)
    response = ProjectViewSet.as_view({"get": "retrieve"})(request, pk=str(project.pk))
    assert (response.status_code, response.render().content) == (304, b"")


def test_a_jobs_tag_follows_its_training(ana: User, client_of: ClientOf) -> None:
    """Also where a worker writes past ``updated_at``, and rows that are shown with it."""
    job = make_job(status=Status.RUNNING)
    thing = Thing(client_of(ana), f"/api/jobs/{job.pk}")
    tags = [thing.etag()]
    type(job).objects.filter(pk=job.pk).update(waiting_reason="No card is free.")
    tags.append(thing.etag())
    make_metrics(job, [1.0])
    tags.append(thing.etag())
    make_artifact(job)
    tags.append(thing.etag())
    type(job.experiment).objects.update(name="another name")
    tags.append(thing.etag())
    assert len(set(tags)) == 5
    assert thing.get(**{"If-None-Match": tags[3]}).status_code == 200
    assert thing.get(**{"If-None-Match": tags[4]}).status_code == 304


# --- Changing ------------------------------------------------------------------------------------


@what_people_change
def test_a_change_of_what_was_read_is_taken(thing: Thing) -> None:
    first = thing.etag()
    answer = thing.patch(first, description="one")
    assert answer.status_code == 200, answer.content
    assert answer["ETag"] == thing.etag() != first
    assert thing.patch(answer["ETag"], description="two").status_code == 200
    assert thing.patch("*", description="three").status_code == 200
    assert thing.patch(f'"older", W/{thing.etag()}', description="four").status_code == 200
    assert thing.get().json()["description"] == "four"


@what_people_change
def test_a_change_of_what_was_changed_meanwhile_is_refused(thing: Thing) -> None:
    stale = thing.etag()
    thing.patch(description="by somebody else")
    now = thing.etag()
    answer = thing.patch(stale, description="mine")
    assert (answer.status_code, answer.json()) == (
        412,
        {
            "error": f"This has been changed since you read it: If-Match says {stale}, and its "
            f"ETag is {now} now. Read it again, and decide again."
        },
    )
    assert thing.delete(stale).status_code == 412
    assert thing.get().json()["description"] == "by somebody else"
    assert thing.delete(now).status_code == 204
    assert thing.delete(now).status_code == 404


@what_people_change
def test_without_the_header_the_last_one_wins(thing: Thing) -> None:
    thing.patch(description="one")
    answer = thing.patch(description="two")
    assert (answer.status_code, answer["ETag"]) == (200, thing.etag())


@what_people_change
@pytest.mark.parametrize("no_tag", ["", "no quotes", '"open'])
def test_what_is_no_tag_is_refused(thing: Thing, no_tag: str) -> None:
    answer = thing.patch(no_tag, description="mine")
    assert answer.status_code == 400
    assert "is no ETag. It stands in quotes" in answer.json()["error"]
    assert thing.get().json()["description"] == ""


@what_people_change
def test_who_may_only_look_is_told_that_first(
    thing: Thing, kind: str, viewer: User, client_of: ClientOf
) -> None:
    for project in Project.objects.filter(name="hers"):
        Membership.objects.create(project=project, user=viewer, role=Membership.Role.VIEWER)
    assert Thing(client_of(viewer), thing.path).patch('"old"').status_code == 403


@what_people_change
@pytest.mark.django_db(transaction=True)
def test_of_many_who_read_the_same_one_changes_it(
    thing: Thing, kind: str, ana: User, client_of: ClientOf
) -> None:
    tag, gate, answers = thing.etag(), threading.Barrier(6), []

    def change(number: int) -> None:
        own = Thing(client_of(ana), thing.path)
        gate.wait()
        try:
            answers.append(own.patch(tag, description=f"by {number}"))
        finally:
            connection.close()

    threads = [threading.Thread(target=change, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status_code for answer in answers) == [200, *[412] * 5]
    [won] = [answer for answer in answers if answer.status_code == 200]
    assert thing.get().json() == won.json()


@what_people_change
def test_the_check_costs_the_same_however_many_there_are(
    thing: Thing, kind: str, ana: User
) -> None:
    def queries() -> int:
        tag = thing.etag()
        with CaptureQueriesContext(connection) as captured:
            assert thing.patch(tag, description=f"{len(tag)}").status_code == 200
        return len(captured)

    queries()
    few = queries()
    for _ in range(5):
        make_job()
        make_recipe()
    assert queries() == few


def test_the_order_of_keys_in_metadata_is_no_change(ana: User, client_of: ClientOf) -> None:
    """PostgreSQL gives them back in another order than they came in."""
    thing = Thing(client_of(ana), f"/api/base-models/{make_model().pk}")
    answer = thing.patch(metadata={"longer": 1, "b": {"z": 1, "y": 2}, "a": 0.5})
    assert answer["ETag"] == thing.etag()


def test_a_project_can_be_changed_while_it_trains(ana: User, client_of: ClientOf) -> None:
    """What its jobs use at this moment is shown with it, but nobody edits that."""
    project = Project.objects.default()
    thing = Thing(client_of(ana), f"/api/projects/{project.pk}")
    tag = thing.etag()
    make_lease(make_job(status=Status.RUNNING), make_worker(gpus=1).devices.get())
    assert thing.get().json()["usage"]["gpus"] == 1
    assert thing.get(**{"If-None-Match": tag}).status_code == 200
    assert thing.patch(tag, description="busy").status_code == 200
    assert thing.patch(tag, description="busier").status_code == 412


def test_a_comparison_with_a_model_is_no_change_of_a_dataset(
    ana: User, client_of: ClientOf
) -> None:
    thing = Thing(client_of(ana), f"/api/datasets/{make_dataset().pk}")
    compared = thing.client.get(thing.path, {"compatible_with_model": str(make_model().pk)})
    assert "compatibility" in compared.json()
    assert compared["ETag"] != thing.etag()
    assert thing.patch(compared["ETag"], description="seen").status_code == 200
