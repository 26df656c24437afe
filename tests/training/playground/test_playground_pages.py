"""The playground's pages without a browser: what they show, and what their forms do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import User
from registry.models import BaseModel
from tests.factories import make_adapter, make_generation, make_job
from tests.pages import Page
from training.models import Generation, Status

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sent", "home", "here")]

FORM = {"prompt": "Hello", "max_new_tokens": "8", "temperature": "0", "seed": "7"}


def shown(client: Client, address: str, status: int = 200) -> Page:
    answer = client.get(address)
    assert answer.status_code == status
    page = Page(answer)
    page.check_outline()
    return page


def test_it_offers_what_can_be_tried(client: Client, model: BaseModel) -> None:
    adapter = make_adapter(model, storage_path="/a")
    page = shown(client, "/playground")
    links = {a.get("href") for a in page.all("a")}
    assert {f"/playground?adapter={adapter.pk}", f"/playground?model={model.pk}"} <= links


def test_with_nothing_to_try_it_says_what_to_do(client: Client) -> None:
    assert "There is no model to try yet." in shown(client, "/playground").words


def test_what_cannot_be_tried_is_explained(client: Client) -> None:
    job = make_job(status=Status.RUNNING)
    assert "is RUNNING" in shown(client, f"/playground?job={job.pk}").words
    assert client.get(f"/playground?job={make_generation().pk}").status_code == 404


def test_a_prompt_is_asked_by_a_plain_form(client: Client, model: BaseModel) -> None:
    page = shown(client, f"/playground?model={model.pk}")
    assert f"Try {model}" in page.words
    answer = client.post(
        "/playground", {**FORM, "model": str(model.pk), "chat": "true", "system": "Be short."}
    )
    made = Generation.objects.get()
    assert answer["Location"] == f"/playground/{made.pk}"
    assert made.messages == [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "Hello"},
    ]
    assert (made.sampling["seed"], made.sampling["temperature"]) == (7, 0.0)
    waiting = client.get(f"/playground/{made.pk}").content.decode()
    assert '<noscript><meta http-equiv="refresh" content="2"></noscript>' in waiting


def test_the_same_without_the_chat_template(client: Client, model: BaseModel) -> None:
    client.post("/playground", {**FORM, "model": str(model.pk)})
    made = Generation.objects.get()
    assert (made.prompt, made.messages) == ("Hello", [])


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"temperature": "hot"}, "A valid number is required."),
        ({"top_p": "3"}, "less than or equal to 1"),
        ({"prompt": ""}, "one of them"),
    ],
)
def test_what_cannot_be_is_told_beside_its_field(
    client: Client, model: BaseModel, said: dict[str, str], words: str
) -> None:
    answer = client.post("/playground", {**FORM, "model": str(model.pk), **said})
    assert answer.status_code == 422
    page = Page(answer)
    page.check_outline()
    assert words in page.words
    assert not Generation.objects.exists()


def answered(model: BaseModel, **fields: Any) -> Generation:
    return make_generation(
        base_model=model,
        prompt="",
        messages=[{"role": "user", "content": "Hello"}],
        status=Status.COMPLETED,
        finished_at=timezone.now(),
        answers={"base": {"state": "done", "text": "Good day.", "tokens": 3}},
        **fields,
    )


def test_a_conversation_goes_on(client: Client, model: BaseModel) -> None:
    before = answered(model)
    page = shown(client, f"/playground/{before.pk}")
    assert "Good day." in page.words
    assert "http-equiv" not in client.get(f"/playground/{before.pk}").content.decode()
    form = {**FORM, "model": str(model.pk), "after": str(before.pk), "chat": "true"}
    client.post("/playground", {**form, "go_on": "true", "prompt": "And now?"})
    made = Generation.objects.exclude(pk=before.pk).get()
    assert [message["content"] for message in made.messages] == [
        "Hello", "Good day.", "And now?",
    ]  # fmt: skip


def test_it_does_not_go_on_from_half_an_answer(client: Client, model: BaseModel) -> None:
    before = answered(model)
    Generation.objects.filter(pk=before.pk).update(status=Status.RUNNING, finished_at=None)
    form = {**FORM, "model": str(model.pk), "after": str(before.pk), "chat": "true"}
    answer = client.post("/playground", {**form, "go_on": "true"})
    assert answer.status_code == 422
    assert "still being written" in Page(answer).words


def test_base_and_tuned_stand_side_by_side(client: Client, model: BaseModel) -> None:
    adapter = make_adapter(model, storage_path="/a")
    client.post("/playground", {**FORM, "adapter": str(adapter.pk), "compare": "true"})
    made = Generation.objects.get()
    assert made.sides == ("tuned", "base")
    page = shown(client, f"/playground/{made.pk}")
    headings = [attrs["id"] for attrs in page.all("h2") if str(attrs.get("id")).startswith("ans")]
    assert headings == ["answer-tuned", "answer-base"]


def test_a_waiting_prompt_is_cancelled_by_its_button(client: Client, model: BaseModel) -> None:
    made = make_generation(base_model=model)
    client.post(f"/playground/{made.pk}/cancel")
    made.refresh_from_db()
    assert made.status == "CANCELLED"
    again = client.post(f"/playground/{made.pk}/cancel", follow=True)
    assert "It was over already." in Page(again).words


def test_the_parts_that_change_come_alone(client: Client, model: BaseModel) -> None:
    made = answered(model)
    part = client.get(f"/playground/{made.pk}", headers={"HX-Request": "true"}).content.decode()
    assert "<html" not in part
    for name in ("status", "actions", "state", "facts-base"):
        assert f'data-live="{name}"' in part


def test_a_stranger_sees_nothing_and_a_viewer_has_no_form(
    settings: Any, model: BaseModel, stranger: User, viewer: User, client: Client
) -> None:
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "LocalOwner" not in name]
    made = answered(model)
    client.force_login(stranger)
    assert client.get(f"/playground/{made.pk}").status_code == 404
    assert client.get(f"/playground?model={model.pk}").status_code == 404
    client.force_login(viewer)
    page = shown(client, f"/playground/{made.pk}")
    assert page.forms_to("/playground") == []
    form = {**FORM, "model": str(model.pk)}
    assert client.post("/playground", form).status_code == 403
    assert client.post(f"/playground/{made.pk}/cancel").status_code == 403


def test_a_model_and_a_finished_job_lead_to_it(
    client: Client, model: BaseModel, make_links: Callable[[str], set[str]]
) -> None:
    adapter = make_adapter(model, storage_path="/a")
    job = make_job(
        status=Status.COMPLETED,
        result={"kind": "adapter", "id": str(adapter.pk), "name": adapter.name},
    )
    assert f"/playground?model={model.pk}" in make_links(f"/models/{model.pk}")
    assert f"/playground?adapter={adapter.pk}" in make_links(f"/adapters/{adapter.pk}")
    assert f"/playground?job={job.pk}" in make_links(f"/jobs/{job.pk}")
    assert client.get(f"/playground?job={job.pk}").status_code == 200


@pytest.fixture
def make_links(client: Client) -> Callable[[str], set[str]]:
    return lambda address: {str(a.get("href")) for a in Page(client.get(address)).all("a")}
