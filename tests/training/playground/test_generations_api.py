"""What a prompt may be, and who may ask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings
from rest_framework.test import APIClient

from accounts.models import Project, User
from registry.models import BaseModel
from tests.factories import make_adapter, make_job, make_model
from tests.training.playground.conftest import URL
from training.models import Generation, Status
from training.playground import generations

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sent", "home", "here")]

Ask = Callable[..., dict[str, Any]]
HELLO = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Hello"}]


def refused(api: APIClient, model: BaseModel, **body: Any) -> dict[str, str]:
    answer = api.post(URL, {"base_model_id": str(model.pk), **body}, format="json")
    assert answer.status_code == 400, answer.json()
    assert not Generation.objects.exists()
    details: dict[str, str] = answer.json()["details"]
    return details


def test_it_says_where_to_look_for_the_answer(api: APIClient, model: BaseModel) -> None:
    body = {"base_model_id": str(model.pk), "messages": HELLO, "sampling": {"temperature": 0}}
    answer = api.post(URL, body, format="json")
    assert answer.status_code == 202
    told = answer.json()
    assert answer["Location"] == f"{URL}/{told['id']}"
    assert (told["messages"], told["prompt"]) == (HELLO, "")
    assert told["time_limit_s"] == settings.TRAINYARD_PLAYGROUND_SECONDS
    assert told["sampling"] | {"seed": 0} == {
        "max_new_tokens": 256, "temperature": 0.0, "top_p": 0.95, "top_k": 50,
        "repetition_penalty": 1.0, "seed": 0,
    }  # fmt: skip
    assert api.get(URL).json()["generations"][0]["id"] == told["id"]


def test_without_a_seed_each_has_its_own(ask: Ask) -> None:
    seeds = {ask()["sampling"]["seed"] for _ in range(3)}
    assert len(seeds) == 3
    assert ask(sampling={"seed": 7})["sampling"]["seed"] == 7


def test_the_result_of_a_job_is_compared_with_what_it_was_made_from(
    ask: Ask, model: BaseModel
) -> None:
    job = make_job(status=Status.COMPLETED)
    adapter = make_adapter(model, storage_path="/a", metadata={"job_id": str(job.pk)})
    job.result = {"kind": "adapter", "id": str(adapter.pk), "name": "a"}
    job.save()
    asked = ask(job_id=str(job.pk), compare=True)
    assert (asked["job_id"], asked["adapter_id"]) == (str(job.pk), str(adapter.pk))
    assert (asked["base_model_id"], asked["tuned_model_id"]) == (str(model.pk), None)


def test_weights_of_their_own_have_their_base_model_beside_them(ask: Ask, model: BaseModel) -> None:
    tuned = make_model(storage_path=model.storage_path, metadata={"base_model_id": str(model.pk)})
    asked = ask(base_model_id=str(tuned.pk), compare=True)
    assert (asked["base_model_id"], asked["tuned_model_id"]) == (str(model.pk), str(tuned.pk))
    assert Generation.objects.get().sides == ("tuned", "base")


@pytest.mark.parametrize(
    ("body", "field", "reason"),
    [
        ({}, "prompt", "one of them"),
        ({"prompt": "a", "messages": HELLO}, "prompt", "one of them"),
        ({"messages": HELLO[:1]}, "messages", "The last message must be the user's."),
        ({"messages": [{"role": "god", "content": "a"}]}, "messages[0].role", "not a valid choice"),
        ({"prompt": "a", "compare": True}, "compare", "nothing to compare"),
        ({"prompt": "a", "time_limit_s": 10_000}, "time_limit_s", "TRAINYARD_PLAYGROUND_SECONDS"),
        ({"prompt": "a", "sampling": {"temprature": 1}}, "sampling.temprature", "no such setting"),
        ({"prompt": "a", "sampling": {"top_p": 2}}, "sampling.top_p", "less than or equal to 1"),
        ({"prompt": "a", "gpus": 2}, "gpus", "less than or equal to 1"),
        ({"prompt": "a", "promt": "b"}, "promt", "no such setting"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_its_reason(
    api: APIClient, model: BaseModel, body: dict[str, Any], field: str, reason: str
) -> None:
    assert reason in refused(api, model, **body)[field]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"is_gguf": True}, "GGUF"),
        ({"servable": False}, "not servable"),
        ({"storage_path": ""}, "no files"),
        ({"modality": "image"}, "images"),
        ({"architecture": "BertForSequenceClassification"}, "chooses labels"),
        ({"status": "broken"}, "is broken: Its files are gone"),
    ],
)
def test_what_does_not_answer_prompts_says_so(
    api: APIClient, fields: dict[str, Any], reason: str
) -> None:
    model = make_model(**{"storage_path": "/m", **fields})
    assert reason in refused(api, model, prompt="a")["base_model_id"]


def test_a_conversation_needs_a_chat_template(api: APIClient, model: BaseModel) -> None:
    model.metadata = {"inspection": {"has_chat_template": False}}
    model.save()
    assert "no chat template" in refused(api, model, messages=HELLO)["messages"]


def test_a_job_that_is_not_done_has_nothing_to_try(api: APIClient) -> None:
    job = make_job(status=Status.RUNNING)
    answer = api.post(URL, {"job_id": str(job.pk), "prompt": "a"}, format="json")
    assert answer.status_code == 400
    assert "is RUNNING" in answer.json()["details"]["job_id"]


def test_what_a_stranger_may_not_see_does_not_exist(
    stranger: User, model: BaseModel, server_mode: None, token_of: Callable[..., APIClient]
) -> None:
    body = {"base_model_id": str(model.pk), "prompt": "a"}
    answer = token_of(stranger).post(URL, body, format="json")
    assert answer.status_code == 400
    assert "does not exist" in answer.json()["details"]["base_model_id"]


def test_a_viewer_asks_in_vain(
    viewer: User, model: BaseModel, server_mode: None, token_of: Callable[..., APIClient]
) -> None:
    body = {"base_model_id": str(model.pk), "prompt": "a"}
    assert token_of(viewer).post(URL, body, format="json").status_code == 403


def test_the_queue_of_a_project_has_an_end(
    api: APIClient, ask: Ask, model: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generations, "MOST_WAITING", 1)
    ask()
    answer = api.post(URL, {"base_model_id": str(model.pk), "prompt": "a"}, format="json")
    assert (answer.status_code, answer.json()) == (
        409, {"error": "1 prompts of this project are waiting already."},
    )  # fmt: skip


def test_a_list_asks_the_database_twice_whatever_its_length(
    api: APIClient, ask: Ask, project: Project, django_assert_max_num_queries: Any
) -> None:
    for _ in range(5):
        ask()
    with django_assert_max_num_queries(6):
        assert len(api.get(URL).json()["generations"]) == 5
