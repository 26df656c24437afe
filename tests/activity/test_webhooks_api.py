"""/api/webhooks and its page: owners manage, everybody in the project looks, strangers see nothing.
(tests/api/test_every_route.py asks each route who may.)"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from accounts.models import Membership, Project, User
from activity import webhooks
from activity.models import Webhook, WebhookDelivery
from activity.tasks import deliver
from tests import factories as make
from tests.activity.receiver import Receiver
from tests.pages import Page

pytestmark = pytest.mark.django_db
ClientOf = Callable[[User], APIClient]
SECRET_PART = "T000/B000/XXXX"
BODY = {
    "name": "Team chat",
    "url": f"https://hooks.slack.com/services/{SECRET_PART}",
    "kind": "slack",
    "event_types": ["job_failed", "job_completed", "job_failed"],
}


def make_webhook(project: Project, **fields: Any) -> Webhook:
    chosen = {**BODY, "event_types": ["job_failed"], **fields}
    return make.make_webhook(project=project, **chosen)


def test_it_is_made_with_a_secret_that_is_shown_once(ana: User, client_of: ClientOf) -> None:
    answer = client_of(ana).post("/api/webhooks", BODY, format="json")
    assert answer.status_code == 201, answer.content
    made = answer.json()
    assert made["secret"].startswith("whsec_")
    assert made["event_types"] == ["job_completed", "job_failed"]
    shown = client_of(ana).get(f"/api/webhooks/{made['id']}").json()
    assert "secret" not in shown
    assert shown == {name: value for name, value in made.items() if name != "secret"}


def test_who_does_not_own_the_project_sees_the_host_only(
    project: Project, ana: User, viewer: User, client_of: ClientOf
) -> None:
    webhook = make_webhook(project)
    for path in (f"/api/webhooks/{webhook.pk}", "/api/webhooks"):
        assert SECRET_PART in client_of(ana).get(path).content.decode()
        shown = client_of(viewer).get(path).content.decode()
        assert SECRET_PART not in shown
        assert "https://hooks.slack.com/…" in shown
    page = Client()
    page.force_login(viewer)
    for path in ("/settings/webhooks", f"/settings/webhooks/{webhook.pk}"):
        assert SECRET_PART not in page.get(path).content.decode()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"url": "http://127.0.0.1:8000/"}, "url"),
        ({"url": "ftp://example.org"}, "url"),
        ({"url": ""}, "url"),
        ({"kind": "telegram"}, "kind"),
        ({"event_types": []}, "event_types"),
        ({"event_types": ["job_dreamt"]}, "event_types"),
        ({"event_types": "job_failed"}, "event_types"),
        ({"name": ""}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"project_id": "x"}, "project_id"),
        ({"project_id": None}, "project_id"),
    ],
)
def test_what_cannot_be_is_refused_by_name(
    ana: User, client_of: ClientOf, change: dict[str, Any], field: str
) -> None:
    answer = client_of(ana).post("/api/webhooks", {**BODY, **change}, format="json")
    assert answer.status_code == 400
    assert set(answer.json()["details"]) == {field}
    assert not Webhook.objects.exists()


def test_a_member_makes_none_and_nobody_in_a_project_of_others(
    project: Project, bob: User, stranger: User, client_of: ClientOf
) -> None:
    for user in (bob, stranger):
        for body in (BODY, {**BODY, "project_id": str(project.pk)}):
            answer = client_of(user).post("/api/webhooks", body, format="json")
            assert answer.status_code == 400
            assert set(answer.json()["details"]) == {"project_id"}


def test_it_is_changed_but_stays_in_its_project(
    project: Project, ana: User, client_of: ClientOf
) -> None:
    webhook = make_webhook(project)
    other = Project.objects.create(name="Other")
    Membership.objects.create(project=other, user=ana, role="owner")
    path = f"/api/webhooks/{webhook.pk}"
    answer = client_of(ana).patch(path, {"enabled": False, "name": "New"}, format="json")
    assert (answer.status_code, answer.json()["enabled"]) == (200, False)
    moved = client_of(ana).patch(path, {"project_id": str(other.pk)}, format="json")
    assert moved.status_code == 400
    assert client_of(ana).delete(path).status_code == 204
    assert not Webhook.objects.exists()


def test_two_of_one_name_are_a_conflict(project: Project, ana: User, client_of: ClientOf) -> None:
    make_webhook(project)
    assert client_of(ana).post("/api/webhooks", BODY, format="json").status_code == 409


def test_a_test_is_delivered_and_logged(
    receiver: Receiver, project: Project, ana: User, client_of: ClientOf
) -> None:
    webhook = make_webhook(project, url=receiver.url(), kind="generic")
    client, path = client_of(ana), f"/api/webhooks/{webhook.pk}"
    answer = client.post(f"{path}/test")
    assert (answer.status_code, answer.json()["state"]) == (201, "pending")
    deliver()
    [logged] = client.get(f"{path}/deliveries?state=delivered").json()["deliveries"]
    assert (logged["id"], logged["response_status"]) == (answer.json()["id"], 200)
    assert logged["next_attempt_at"] is None
    again = client.post(f"{path}/deliveries/{logged['id']}/redeliver")
    assert (again.status_code, again.json()["request_body"]) == (201, logged["request_body"])


def test_one_that_is_turned_off_sends_nothing(
    project: Project, ana: User, client_of: ClientOf
) -> None:
    webhook = make_webhook(project, enabled=False)
    assert client_of(ana).post(f"/api/webhooks/{webhook.pk}/test").status_code == 409
    assert not WebhookDelivery.objects.exists()


def test_a_new_secret_is_shown_once(project: Project, ana: User, client_of: ClientOf) -> None:
    webhook = make_webhook(project)
    answer = client_of(ana).post(f"/api/webhooks/{webhook.pk}/rotate-secret").json()
    assert answer["secret"] not in ("", webhook.secret)
    root = User.objects.create_superuser("auditor")
    log = client_of(root).get("/api/audit?object_type=webhook").content.decode()
    assert "rotate_secret" in log
    assert answer["secret"] not in log
    assert SECRET_PART not in log


def test_a_delivery_of_another_webhook_is_not_found_here(
    project: Project, ana: User, client_of: ClientOf
) -> None:
    one, other = make_webhook(project), make_webhook(project, name="Other")
    delivery = webhooks.test(other)
    path = f"/api/webhooks/{one.pk}/deliveries/{delivery.pk}"
    assert client_of(ana).get(path).status_code == 404
    assert client_of(ana).post(f"{path}/redeliver").status_code == 404


def test_the_list_asks_the_same_number_of_questions_however_long_it_is(
    project: Project, ana: User, client_of: ClientOf, django_assert_num_queries: Any
) -> None:
    client = client_of(ana)
    for name in "ab":
        make_webhook(project, name=name)
        with django_assert_num_queries(5):  # session, user, count, rows, what is owned
            client.get("/api/webhooks")


# --- The pages -----------------------------------------------------------------------------------


def test_from_nothing_to_a_test_without_scripts(
    receiver: Receiver, project: Project, client_of_ana: Client
) -> None:
    client = client_of_ana
    empty = Page(client.get("/settings/webhooks"))
    empty.check_outline()
    assert "Nobody is told yet." in empty.words
    Page(client.get("/settings/webhooks/new")).check_outline()
    fields = {
        "project": str(project.pk),
        "name": "Ours",
        "kind": "generic",
        "url": receiver.url(),
        "event_types": ["job_failed"],
        "enabled": "on",
    }
    bad = client.post("/settings/webhooks/new", {**fields, "url": "http://10.0.0.1/"})
    assert bad.status_code == 422
    assert "not a public address" in Page(bad).words

    answer = client.post("/settings/webhooks/new", fields, follow=True)
    page = Page(answer)
    page.check_outline()
    assert "shown this once: whsec_" in page.words
    webhook = Webhook.objects.get()
    path = f"/settings/webhooks/{webhook.pk}"
    assert "whsec_" not in Page(client.get(path)).words

    client.post(f"{path}/test")
    deliver()
    page = Page(client.get(path))
    assert "Delivered test 200 ·" in page.words
    assert "1 try" in page.words
    client.post(f"{path}/redeliver", {"delivery": str(webhook.deliveries.get().pk)})
    assert webhook.deliveries.count() == 2
    saved = client.post(path, {**fields, "name": "Renamed"}, follow=True)
    assert "Renamed" in Page(saved).words
    assert "whsec_" in Page(client.post(f"{path}/rotate", follow=True)).words
    client.post(f"{path}/delete")
    assert not Webhook.objects.exists()


def test_two_of_one_name_are_told_in_the_form(project: Project, client_of_ana: Client) -> None:
    make_webhook(project)
    answer = client_of_ana.post("/settings/webhooks/new", {**BODY, "project": str(project.pk)})
    assert answer.status_code == 422
    assert "already exists" in Page(answer).words


def test_who_does_not_own_it_changes_nothing_on_the_page(
    project: Project, bob: User, stranger: User
) -> None:
    webhook = make_webhook(project)
    path = f"/settings/webhooks/{webhook.pk}"
    member, outsider = Client(), Client()
    member.force_login(bob)
    outsider.force_login(stranger)
    assert member.get(path).status_code == 200
    assert member.get("/settings/webhooks/new").status_code == 403
    assert outsider.get(path).status_code == 404
    for verb in ("", "/test", "/rotate", "/redeliver", "/delete"):
        assert member.post(f"{path}{verb}").status_code == 403
        assert outsider.post(f"{path}{verb}").status_code == 404
    assert client_get(outsider, "/settings/webhooks") == []
    assert Webhook.objects.get().deliveries.count() == 0


def client_get(client: Client, path: str) -> list[str]:
    links = (a["href"] or "" for a in Page(client.get(path)).all("a"))
    return [link for link in links if link.startswith("/settings/webhooks/") and "new" not in link]
