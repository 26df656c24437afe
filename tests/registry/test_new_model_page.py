"""/models/new: a model is registered by its path or its numbers; what cannot be is said beside the
field, in the API's words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from accounts.models import Membership, User
from registry.models import BaseModel
from tests.pages import Page

pytestmark = pytest.mark.django_db
NUMBERS = {"params_b": "7", "hidden_size": "4096", "num_layers": "32", "vocab_size": "32000"}


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def values(page: Page) -> dict[str, Any]:
    return {str(i["name"]): i.get("value") for i in page.all("input") if i.get("type") == "text"}


def test_a_folder_becomes_a_model(ana: User, tiny: Path) -> None:
    client = signed_in(ana)
    Page(client.get("/models/new")).check_outline()
    response = client.post("/models/new", {"name": "Tiny", "storage_path": "tiny"}, follow=True)
    assert "Tiny is registered." in Page(response).words
    model = BaseModel.objects.get(name="Tiny")
    assert model.storage_path == str(tiny)
    assert model.params_b


def test_numbers_alone_become_a_model(ana: User) -> None:
    said = {"name": "Planned", "modality": "text", "dtype": "bfloat16", **NUMBERS}
    assert signed_in(ana).post("/models/new", said).status_code == 302
    model = BaseModel.objects.get(name="Planned")
    assert (model.params_b, model.num_layers, model.storage_path) == (7.0, 32, "")


def test_so_does_a_config(ana: User) -> None:
    config = {"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 100}
    said = {"name": "From config", "config": json.dumps(config)}
    signed_in(ana).post("/models/new", said)
    assert BaseModel.objects.get(name="From config").hidden_size == 64


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({}, "This field is required."),
        ({"storage_path": "/etc"}, "is not below one of the storage roots"),
        ({"storage_path": "nowhere"}, "&#x27;nowhere&#x27; does not exist."),
        ({"params_b": "many"}, "A valid number is required."),
        ({"num_layers": "-1"}, "Ensure this value is greater than or equal to 0."),
        ({"config": "{"}, "This is not JSON"),
        ({"config": "[]"}, "must hold a JSON object."),
        ({"project_id": "mine"}, "Project: "),
        ({"modality": "smell"}, "Select a valid choice."),
    ],
)
def test_what_cannot_be_is_said_beside_its_field_and_what_was_typed_stays(
    ana: User, said: dict[str, str], sentence: str
) -> None:
    name = {"name": "Kept"} if said else {}
    response = signed_in(ana).post("/models/new", {**name, **said})
    assert response.status_code == 422
    assert sentence in response.content.decode()
    page = Page(response)
    page.check_outline()
    assert {**values(page), **name} == values(page)
    assert not BaseModel.objects.exists()


def test_a_viewer_registers_nothing(viewer: User) -> None:
    client = signed_in(viewer)
    assert client.get("/models/new").status_code == 403
    assert client.post("/models/new", {"name": "X", **NUMBERS}).status_code == 403


def test_nobody_registers_into_another_ones_project(ana: User, stranger: User) -> None:
    theirs = Membership.objects.get(user=stranger).project_id
    said = {"name": "X", "project_id": str(theirs), **NUMBERS}
    response = signed_in(ana).post("/models/new", said)
    assert response.status_code == 422
    assert not BaseModel.objects.filter(name="X").exists()
