"""Every write has an entry that says who, what and from where; staff reads them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from auditlog.models import LogEntry
from django.apps import apps
from django.test import Client
from rest_framework import authentication
from rest_framework.test import APIClient

from accounts.models import Membership, Project, User
from activity import audit
from tests.factories import make_adapter, make_dataset, make_job, make_model, make_recipe
from training.models import Job

pytestmark = pytest.mark.django_db
ClientOf = Callable[[User], APIClient]


def newest(**about: Any) -> LogEntry:
    return LogEntry.objects.filter(**about).latest("pk")


def entries(client: APIClient, **query: str) -> list[dict[str, Any]]:
    answer = client.get("/api/audit", query)
    assert answer.status_code == 200, answer.json()
    found: list[dict[str, Any]] = answer.json()["entries"]
    return found


def test_a_change_through_the_api_names_its_actor_and_address(
    ana: User, client_of: ClientOf
) -> None:
    model = make_model(name="before")
    client_of(ana).patch(
        f"/api/base-models/{model.pk}",
        {"name": "after"},
        format="json",
        REMOTE_ADDR="127.0.0.9",
        HTTP_X_FORWARDED_FOR="6.6.6.6",  # anybody can claim that
    )
    entry = newest(object_pk=str(model.pk))
    assert (entry.actor, entry.remote_addr) == (ana, "127.0.0.9")
    assert audit.changes_of(entry) == {"name": ["before", "after"]}
    assert audit.verb_of(entry) == "update"


def test_the_local_owner_is_an_actor_too(api: APIClient) -> None:
    api.post("/api/recipes", {"name": "x", "method": "full"}, format="json")
    entry = newest(content_type__model="recipe")
    assert (audit.actor_of(entry), audit.verb_of(entry)) == ("owner", "create")


def test_somebody_who_signs_in_late_is_the_actor(
    ana: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token is read by REST framework, after every middleware."""
    from training.api.recipes import RecipeViewSet

    class Token(authentication.BaseAuthentication):
        def authenticate(self, request: Any) -> tuple[User, None]:
            return ana, None

    monkeypatch.setattr(RecipeViewSet, "authentication_classes", [Token])
    APIClient().post("/api/recipes", {"name": "x", "method": "full"}, format="json")
    assert newest(content_type__model="recipe").actor == ana


def test_a_change_through_the_admin_has_an_entry(root: User) -> None:
    browser = Client()
    browser.force_login(root)
    browser.post("/admin/auth/group/add/", {"name": "curators"})
    entry = newest(content_type__model="group")
    assert (entry.actor, audit.verb_of(entry)) == (root, "create")
    assert entry.remote_addr == "127.0.0.1"


def test_outside_a_request_nobody_is_the_actor(project: Project) -> None:
    entry = newest(object_pk=str(make_dataset().pk))
    assert (entry.actor, audit.actor_of(entry), entry.remote_addr) == (None, None, None)


def test_the_next_request_has_no_actor_of_the_one_before(ana: User, client_of: ClientOf) -> None:
    client_of(ana).post("/api/recipes", {"name": "x", "method": "full"}, format="json")
    assert newest(object_pk=str(make_model().pk)).actor is None


def test_an_entry_outlives_its_object_and_its_actor(
    ana: User, root: User, client_of: ClientOf
) -> None:
    model = make_model(name="gone soon")
    client_of(ana).delete(f"/api/base-models/{model.pk}")
    ana.delete()
    [deleted] = entries(client_of(root), object_id=str(model.pk), object_type="base_model")[:1]
    assert (deleted["action"], deleted["object_name"]) == ("delete", "gone soon")
    assert (deleted["actor_id"], deleted["actor"]) == (None, "ana")


def test_passwords_are_not_written_down(root: User) -> None:
    root.set_password("a very secret word")
    root.save()
    entry = newest(object_pk=str(root.pk))
    assert audit.changes_of(entry) == {"password": ["•••", "•••"]}


def test_who_came_into_a_group_is_written_down(ana: User) -> None:
    group = apps.get_model("auth.Group").objects.create(name="curators")
    ana.groups.add(group)
    assert audit.changes_of(newest()) == {"groups": [[], ["curators"]]}
    ana.groups.remove(group)
    assert audit.changes_of(newest()) == {"groups": [["curators"], []]}


def test_every_kind_of_thing_that_people_change_is_watched(ana: User) -> None:
    made = [make_model(), make_dataset(), make_adapter(), make_recipe(), make_job()]
    made += [Project.objects.create(name="new"), Membership.objects.get(user=ana), ana]
    for thing in made:
        assert newest(object_pk=str(thing.pk), content_type__model=thing._meta.model_name)


def test_the_columns_that_workers_write_are_not_watched(project: Project) -> None:
    job = make_job()
    before = LogEntry.objects.count()
    job.step, job.waiting_reason = 7, "No card is free."
    job.save()
    Job.objects.update(step=8)
    assert LogEntry.objects.count() == before


def test_only_staff_reads_the_log(ana: User, stranger: User, client_of: ClientOf) -> None:
    for user in (ana, stranger):
        assert client_of(user).get("/api/audit").status_code == 403


def test_the_log_is_a_list_newest_first(root: User, ana: User, client_of: ClientOf) -> None:
    model, recipe = make_model(), make_recipe()
    client_of(ana).patch(f"/api/recipes/{recipe.pk}", {"description": "x"}, format="json")
    client = client_of(root)
    whole = client.get("/api/audit").json()
    assert (whole["limit"], whole["offset"]) == (100, 0)
    assert whole["total"] == len(whole["entries"]) == LogEntry.objects.count()
    assert whole["entries"][0] == {
        "cursor": newest().pk,
        "timestamp": newest().timestamp.isoformat().replace("+00:00", "Z"),
        "actor_id": str(ana.pk),
        "actor": "ana",
        "remote_addr": "127.0.0.1",
        "action": "update",
        "object_type": "recipe",
        "object_id": str(recipe.pk),
        "object_name": recipe.display_name,
        "changes": {"description": ["", "x"]},
    }
    assert [row["object_type"] for row in entries(client, actor=str(ana.pk))] == ["recipe"]
    assert [row["object_id"] for row in entries(client, object_type="base_model")] == [
        str(model.pk)
    ]
    assert client.get("/api/audit?limit=1").json()["total"] == whole["total"]


@pytest.mark.parametrize(
    ("query", "words"), [("actor=x", "valid UUID"), ("object_type=spoon", "one of adapter, base_")]
)
def test_a_filter_that_cannot_be_is_refused(
    root: User, client_of: ClientOf, query: str, words: str
) -> None:
    answer = client_of(root).get(f"/api/audit?{query}")
    assert answer.status_code == 400
    assert words in answer.json()["error"]


def test_the_log_costs_the_same_queries_however_long_it_is(
    root: User, client_of: ClientOf, django_assert_num_queries: Any
) -> None:
    for _ in range(15):
        make_recipe()
        make_model()
    client = client_of(root)
    client.get("/api/audit")
    with django_assert_num_queries(4):  # session, user, count, rows
        client.get("/api/audit")
