"""What is done to several models at once, from their list."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from accounts.models import User
from registry import model_checks
from registry.models import BaseModel, Stage
from tests import factories as make
from tests.pages import Page

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(ana: User) -> Client:
    client = Client()
    client.force_login(ana)
    return client


def tick(client: Client, do: str, *models: BaseModel, back: str = "/models") -> Any:
    ids = [str(model.pk) for model in models]
    return client.post("/models/bulk", {"do": do, "model": ids, "back": back}, follow=True)


def stages() -> dict[str, str]:
    return dict(BaseModel.objects.values_list("name", "stage"))


def test_ticked_models_are_archived_and_the_list_stays_as_it_was(client: Client) -> None:
    models = [make.make_model(name=name) for name in ("apple", "pear")]
    make.make_model(name="plum")
    response = tick(client, "archive", *models, back="/models?family=llama")
    assert response.redirect_chain == [("/models?family=llama", 302)]
    assert "archived." in Page(response).words
    assert stages() == {"apple": "archived", "pear": "archived", "plum": "staging"}


def test_what_cannot_be_promoted_is_named_with_the_reason(client: Client) -> None:
    good = make.make_model(name="good", storage_path="/somewhere")
    empty = make.make_model(name="empty", storage_path="")
    old = make.make_model(name="old", stage=Stage.ARCHIVED)
    words = Page(tick(client, "promote", good, empty, old)).words
    assert "'good' in production now." in words
    assert "Model 'empty' stays as it is. It has no files." in words
    assert "Model 'old' stays as it is. It is in archived" in words
    assert stages() == {"good": "production", "empty": "staging", "old": "archived"}


def test_files_are_read_again_by_a_worker(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    monkeypatch.setattr(model_checks, "_wake", lambda model: sent.append(str(model.pk)))
    model = make.make_model(name="good", storage_path="/somewhere")
    words = Page(tick(client, "check", model, make.make_model(name="empty"))).words
    assert sent == [str(model.pk)]
    assert "'good' to be read by a worker." in words
    assert "Model 'empty' has no files here that could be read." in words
