"""The fixes of a preflight, as a program applies them, and keys that no body has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from accounts.models import Project, User
from registry.models import BaseModel
from tests import factories as make
from tests.training.wizard.conftest import ROWS, model_in
from training.models import Recipe

pytestmark = pytest.mark.django_db
ClientOf = Callable[[User], APIClient]


@pytest.fixture
def body(tmp_path: Path, project: Project) -> dict[str, Any]:
    """All weights of a model for which one card of 80 GB is too small."""
    make.make_worker(gpus=1)
    model = model_in(
        tmp_path / "model",
        params_b=7.0,
        hidden_size=4096,
        num_layers=32,
        vocab_size=32_000,
        context_length=4096,
    )
    dataset = make.make_dataset(statistics=ROWS)
    return {
        "base_model_id": str(model.pk),
        "dataset_id": str(dataset.pk),
        "recipe_id": str(Recipe.objects.get(name="full").pk),
    }


def post(client: APIClient, path: str, body: dict[str, Any], status: int) -> dict[str, Any]:
    answer = client.post(path, body, format="json")
    assert answer.status_code == status, answer.content
    told: dict[str, Any] = answer.json()
    return told


def preflight(client: APIClient, body: dict[str, Any]) -> dict[str, Any]:
    return post(client, "/api/experiments/preflight", body, 200)


def merged(body: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    parts = {
        name: {**body.get(name, {}), **value} if isinstance(value, dict) else value
        for name, value in patch.items()
    }
    return {**body, **parts}


def of_another_method(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [fix for fix in report["fixes"] if "recipe_id" in fix["patch"]]


def test_a_patch_merged_into_the_body_gives_what_the_fix_says(
    ana: User, client_of: ClientOf, body: dict[str, Any]
) -> None:
    client = client_of(ana)
    before = preflight(client, body)
    assert before["fits"] is False
    assert of_another_method(before)
    for fix in before["fixes"]:
        after = preflight(client, merged(body, fix["patch"]))
        assert after["ok"], after["errors"]
        assert after["estimated_vram_mb"] == fix["estimated_vram_mb"], fix
        assert after["time_per_step_ms"] == fix["time_per_step_ms"], fix


@pytest.mark.parametrize("method", ["full", "lora"])
def test_what_a_recipe_of_ones_own_said_holds_for_the_one_that_ships(
    ana: User, client_of: ClientOf, project: Project, body: dict[str, Any], method: str
) -> None:
    BaseModel.objects.update(num_layers=160)
    train = {"global_batch_size": 64, "grad_accum": 16, "max_steps": 7, "learning_rate": 3e-5}
    own = make.make_recipe(
        project=project, method=method, defaults={"train": train, "lora": {"r": 64}}
    )
    client = client_of(ana)
    body["recipe_id"] = str(own.pk)
    found = of_another_method(preflight(client, body))
    assert found
    for fix in found:
        patch = fix["patch"]["train"]
        assert (patch["global_batch_size"], patch["max_steps"]) == (64, 7)
        assert patch.get("learning_rate") == (3e-5 if method == "lora" else None)
        after = preflight(client, merged(body, fix["patch"]))
        assert after["vram_breakdown"], after["errors"]
        assert after["estimated_vram_mb"] == fix["estimated_vram_mb"], fix
        assert after["time_per_step_ms"] == fix["time_per_step_ms"], fix


def test_the_refusal_of_a_job_says_it_in_the_same_words(
    ana: User, client_of: ClientOf, body: dict[str, Any]
) -> None:
    client = client_of(ana)
    told = post(client, "/api/jobs", {**body, "name": "too large"}, 400)
    assert told["details"]["preflight"]["fixes"] == preflight(client, body)["fixes"]


def test_the_recipes_of_all_fixes_are_asked_for_at_once(
    ana: User, client_of: ClientOf, body: dict[str, Any]
) -> None:
    client = client_of(ana)
    preflight(client, body)
    with CaptureQueriesContext(connection) as queries:
        found = of_another_method(preflight(client, body))
    assert len({fix["patch"]["recipe_id"] for fix in found}) == 2
    assert len([one for one in queries if "built_in" in one["sql"].split("WHERE")[-1]]) == 1
    assert len(queries) == 10


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/api/experiments/preflight", {}),
        ("/api/experiments/probe", {}),
        ("/api/jobs", {"name": "a job"}),
    ],
)
def test_what_no_body_has_is_refused(
    ana: User, client_of: ClientOf, body: dict[str, Any], path: str, more: dict[str, Any]
) -> None:
    wrong = {**body, **more, "recipe": {"method": "lora"}}
    told = post(client_of(ana), path, wrong, 400)
    assert list(told["details"]) == ["recipe"]
    assert "There is no such setting." in told["details"]["recipe"]
