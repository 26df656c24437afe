"""A change and the audit entry that tells of it: both are there, or neither."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from auditlog.models import LogEntry
from django.db.models.signals import pre_save
from rest_framework.test import APIClient

from accounts.models import Membership, Project, Token, User

pytestmark = pytest.mark.django_db(transaction=True)
ClientOf = Callable[[User], APIClient]


@pytest.fixture
def token(ana: User) -> Token:
    return Token.issue(ana, name="ci")


@pytest.fixture
def empty(ana: User) -> Project:
    """A project that could be deleted."""
    project = Project.objects.create(name="empty")
    Membership.objects.create(project=project, user=ana, role=Membership.Role.OWNER)
    return project


@pytest.fixture
def no_entry_can_be_written(token: Token, empty: Project, bob: User) -> Iterator[None]:
    """From here on; what the tests change is there before."""

    def refuse(**kwargs: Any) -> None:
        raise RuntimeError("the audit log is broken")

    pre_save.connect(refuse, sender=LogEntry)
    yield
    pre_save.disconnect(refuse, sender=LogEntry)


def everything() -> list[list[dict[str, Any]]]:
    models: list[Any] = [Project, Membership, Token]
    return [list(model.objects.order_by("pk").values()) for model in models]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("post", "/api/projects", {"name": "new"}),
        ("patch", "/api/projects/{empty}", {"name": "renamed"}),
        ("delete", "/api/projects/{empty}", None),
        ("post", "/api/projects/{empty}/members", {"username": "bob"}),
        ("patch", "/api/projects/{project}/members/{bob}", {"role": "viewer"}),
        ("delete", "/api/projects/{project}/members/{bob}", None),
        ("post", "/api/tokens", {"name": "new"}),
        ("delete", "/api/tokens/{token}", None),
    ],
)
def test_without_its_entry_nothing_is_changed(
    method: str,
    path: str,
    body: Any,
    ana: User,
    bob: User,
    project: Project,
    empty: Project,
    token: Token,
    client_of: ClientOf,
    no_entry_can_be_written: None,
) -> None:
    before = everything()
    client = client_of(ana)
    client.raise_request_exception = False
    ids = {"project": project.pk, "empty": empty.pk, "bob": bob.pk, "token": token.id}
    answer = getattr(client, method)(path.format(**ids), body, format="json")
    assert answer.status_code == 500
    assert everything() == before


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/projects/{empty}", {"name": "renamed"}),
        ("/api/projects/{project}/members/{bob}", {"role": "viewer"}),
    ],
)
def test_there_is_no_entry_of_a_change_that_failed(
    path: str,
    body: Any,
    ana: User,
    bob: User,
    project: Project,
    empty: Project,
    client_of: ClientOf,
) -> None:
    """The entry of a change is written just before the change."""

    def refuse(instance: Any, **kwargs: Any) -> None:
        raise RuntimeError("the row cannot be written")

    client, before = client_of(ana), LogEntry.objects.count()
    client.raise_request_exception = False
    for model in (Project, Membership):
        pre_save.connect(refuse, sender=model)
    try:
        answer = client.patch(
            path.format(project=project.pk, empty=empty.pk, bob=bob.pk), body, format="json"
        )
    finally:
        for model in (Project, Membership):
            pre_save.disconnect(refuse, sender=model)
    assert answer.status_code == 500
    assert LogEntry.objects.count() == before
