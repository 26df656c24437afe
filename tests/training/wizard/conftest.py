"""A model and a dataset that go together, and somebody who walks through the wizard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from accounts.models import User
from registry.models import BaseModel, Dataset
from tests import factories as make
from tests.pages import Page
from training.models import Draft, Recipe
from training.wizard.steps import NAMES

ROWS = {
    "splits": ["train", "validation"],
    "rows": {"train": 20_000, "validation": 500},
    "row_format": "prompt_completion",
    "columns": ["completion", "prompt"],
    "mean_characters": 50.0,
    "max_characters": 90,
}


@pytest.fixture(autouse=True)
def _no_broker(sent: list[dict[str, Any]]) -> None:
    """Nothing is sent to anybody."""


@pytest.fixture
def model(home: Path, project: Any) -> BaseModel:
    return model_in(home / "models" / "tiny")


def model_in(folder: Path, **fields: Any) -> BaseModel:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}), encoding="utf-8")
    shape = {"hidden_size": 64, "num_layers": 2, "vocab_size": 400}
    return make.make_model(storage_path=str(folder), **{**shape, **fields})


@pytest.fixture
def large_model(home: Path, project: Any) -> BaseModel:
    """Too large for the 80 GB of one card."""
    return model_in(
        home / "models" / "large",
        name="large",
        params_b=70.0,
        hidden_size=8192,
        num_layers=80,
        vocab_size=128_256,
        context_length=8192,
    )


@pytest.fixture
def dataset(project: Any) -> Dataset:
    return make.make_dataset(statistics=ROWS)


class Walker:
    """One person and one draft. Each page that comes is parsed and looked over."""

    def __init__(self, user: User) -> None:
        self.user = user
        self.client = Client()
        self.client.force_login(user)
        self.draft_id = ""

    def begin(self, query: str = "") -> Page:
        response = self.client.get(f"/jobs/new{query}", follow=True)
        assert response.status_code == 200, response.status_code
        self.draft_id = response.request["PATH_INFO"].split("/")[3]
        return self._looked_over(response)

    @property
    def draft(self) -> Draft:
        return Draft.objects.get(pk=self.draft_id)

    def at(self, step: str) -> str:
        return f"/jobs/new/{self.draft_id}/{step}"

    def see(self, step: str) -> Page:
        response = self.client.get(self.at(step))
        assert response.status_code == 200, response.get("Location")
        return self._looked_over(response)

    def say(self, step: str, answers: dict[str, Any] | None = None, *, status: int = 302) -> Any:
        """Fill in a step and press Continue."""
        response = self.client.post(self.at(step), {**(answers or {}), "go": "next"})
        assert response.status_code == status, response.content.decode()
        return response

    def save(self, step: str, answers: dict[str, Any]) -> str:
        """What a script does while one types; the part that comes back."""
        response = self.client.post(self.at(step), answers, headers={"HX-Request": "true"})
        assert response.status_code == 200
        return response.content.decode()

    def walk_to(self, end: str, answers: dict[str, dict[str, Any]]) -> None:
        """As if every step before ``end`` had been gone through, which is slow to do each time."""
        if not self.draft_id:
            self.begin()
        draft = self.draft
        draft.done = list(NAMES[: NAMES.index(end)])
        for step in draft.done:
            draft.answers |= answers.get(step, {})
        draft.save()

    @staticmethod
    def _looked_over(response: Any) -> Page:
        page = Page(response)
        page.check_outline()
        return page


@pytest.fixture
def walker(ana: User) -> Walker:
    return Walker(ana)


@pytest.fixture
def answers(model: BaseModel, dataset: Dataset) -> dict[str, dict[str, Any]]:
    """What leads to a job that trains ten steps of LoRA on the CPU."""
    return {
        "model": {"base_model_id": str(model.pk)},
        "data": {"dataset_id": str(dataset.pk)},
        "style": {"recipe_id": str(Recipe.objects.get(name="lora").pk)},
        "settings": {"train.max_steps": "10"},
        "resources": {},
    }
