"""Hub tokens: kept encrypted, used for their project, shown to nobody."""

from __future__ import annotations

from typing import Any

import pytest
from auditlog.models import LogEntry
from django.test import Client
from django.urls import reverse

from accounts.models import Project, User
from registry.hub import tokens
from registry.hub.models import HubToken, Status
from tests.hub.conftest import ROWS, Run
from tests.hub.fake_hub import FakeHub

pytestmark = pytest.mark.django_db
SECRET = "hf_very_secret_word"


def test_a_token_is_set_replaced_and_removed_by_an_owner(
    client_of: Any, ana: User, project: Project
) -> None:
    client = client_of(ana)
    body = {"project_id": str(project.pk), "token": SECRET}
    answer = client.post("/api/hub-tokens", body, format="json")
    assert answer.status_code == 201
    assert set(answer.json()) == {"id", "project_id", "user_id", "created_at", "updated_at"}
    kept = HubToken.objects.get()
    assert kept.secret == SECRET
    assert SECRET not in kept.encrypted
    client.post("/api/hub-tokens", {**body, "token": "hf_another_one"}, format="json")
    assert HubToken.objects.get().secret == "hf_another_one"
    assert client.get("/api/hub-tokens").json()["total"] == 1
    assert client.delete(f"/api/hub-tokens/{kept.pk}").status_code == 204
    assert not HubToken.objects.exists()


def test_a_member_sees_that_there_is_one_and_changes_nothing(
    client_of: Any, ana: User, bob: User, project: Project
) -> None:
    token = tokens.keep(project, SECRET, user=ana)
    client = client_of(bob)
    shown = client.get(f"/api/hub-tokens/{token.pk}")
    assert shown.status_code == 200
    assert "hf_" not in shown.content.decode()
    body = {"project_id": str(project.pk), "token": "hf_of_bob_himself"}
    assert client.post("/api/hub-tokens", body, format="json").status_code == 403
    assert client.delete(f"/api/hub-tokens/{token.pk}").status_code == 403
    assert HubToken.objects.get().secret == SECRET


@pytest.mark.parametrize("token", ["", "short", "two words here", "hf_ü_umlaut", "x" * 401])
def test_what_is_no_token_is_refused(
    client_of: Any, ana: User, project: Project, token: str
) -> None:
    body = {"project_id": str(project.pk), "token": token}
    answer = client_of(ana).post("/api/hub-tokens", body, format="json")
    assert answer.status_code == 400
    assert set(answer.json()["details"]) == {"token"}


def test_neither_the_audit_nor_the_admin_says_it(root: User, project: Project) -> None:
    token = tokens.keep(project, SECRET, user=root)
    client = Client()
    client.force_login(root)
    for page in (
        reverse("admin:registry_hubtoken_changelist"),
        reverse("admin:registry_hubtoken_change", args=[token.pk]),
    ):
        shown = client.get(page)
        assert shown.status_code == 200
        assert SECRET not in shown.content.decode()
        assert token.encrypted not in shown.content.decode()
    assert LogEntry.objects.count() > 0
    for entry in LogEntry.objects.all():
        assert token.encrypted not in str(entry.changes)


@pytest.mark.django_db(transaction=True)
def test_the_projects_token_opens_private_and_gated_repositories(
    hub: FakeHub, brought: Run, project: Project, ana: User
) -> None:
    hub.add("datasets", "ana/rows", {"train.jsonl": ROWS}, gated=True, private_to="hf_good")
    tokens.keep(project, "hf_good", user=ana)
    assert brought().status == Status.COMPLETED


@pytest.mark.django_db(transaction=True)
def test_a_token_of_another_secret_key_is_asked_for_again(
    hub: FakeHub, brought: Run, project: Project, ana: User, settings: Any
) -> None:
    tokens.keep(project, "hf_good", user=ana)
    settings.SECRET_KEY = "another one"
    transfer = brought()
    assert transfer.failure is not None
    assert transfer.failure["kind"] == "bad_token"
    assert "SECRET_KEY" in transfer.failure["message"]
