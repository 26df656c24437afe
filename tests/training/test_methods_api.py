"""A job of every method: from the API to the trainer's run.json, and what it makes registered."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rest_framework.test import APIClient

from accounts.models import User
from registry.models import BaseModel, Dataset
from tests.factories import make_dataset, make_model
from training import run_plan
from training.models import Job, Method, Recipe
from training.trainer import spec

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sent")]
ClientOf = Callable[[User], APIClient]

LLAMA = {
    "model_type": "llama",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "vocab_size": 400,
}
VIT = {"model_type": "vit", "hidden_size": 32, "num_hidden_layers": 2, "image_size": 16}
TRAIN = {"max_steps": 10, "global_batch_size": 4, "max_length": 256}


def base_model(home: Path, *, modality: str = "text") -> BaseModel:
    folder = home / "models" / f"tiny-{modality}"
    folder.mkdir()
    config = VIT if modality == "image" else LLAMA
    (folder / "config.json").write_text(json.dumps(config))
    facts = {"config": config, "inspection": {"has_tokenizer": modality == "text"}}
    context = None if modality == "image" else 512
    return make_model(
        storage_path=str(folder), modality=modality, metadata=facts, context_length=context
    )


def dataset(home: Path, row_format: str, *, modality: str = "text") -> Dataset:
    folder = home / "datasets" / row_format
    if modality == "image":
        for colour in ("red", "blue"):
            (folder / "train" / colour).mkdir(parents=True)
            Image.new("RGB", (4, 4), colour).save(folder / "train" / colour / "1.png")
    else:
        folder.mkdir(parents=True)
        (folder / "train.jsonl").write_text("{}")
    statistics = {
        "splits": ["train"],
        "rows": {"train": 20_000},
        "row_format": row_format,
        "mean_characters": 80.0,
    }
    return make_dataset(storage_path=str(folder), modality=modality, statistics=statistics)


def body_of(home: Path, method: str, row_format: str = "", **parts: Any) -> dict[str, Any]:
    modality = spec.METHODS[method].modality
    row_format = row_format or spec.METHODS[method].rows[0]
    return {
        "name": f"A {method}",
        "base_model_id": str(base_model(home, modality=modality).pk),
        "dataset_id": str(dataset(home, row_format, modality=modality).pk),
        "recipe_id": str(Recipe.objects.get(method=method, built_in=True).pk),
        "train": {**TRAIN, **parts.pop("train", {})},
        "resources": {"gpus": 0},
        **parts,
    }


@pytest.mark.parametrize("method", Method.values)
def test_a_job_of_every_method_is_created_and_planned(
    method: str, ana: User, client_of: ClientOf, home: Path
) -> None:
    answer = client_of(ana).post("/api/jobs", body_of(home, method), format="json")
    assert answer.status_code == 201, answer.json()
    plan = run_plan.plan_of(Job.objects.get())
    assert plan.method == method
    assert plan.train.use_peft == (method in ("dpo", "orpo", "kto"))
    assert bool(answer.json()["lora"]) == plan.uses_adapter
    (train,) = plan.dataset.train
    assert Path(train).is_dir() == (method == "image_classification")


def test_what_a_method_has_not_is_a_400_that_names_it(
    ana: User, client_of: ClientOf, home: Path
) -> None:
    body = body_of(home, "full", train={"beta": 0.3})
    answer = client_of(ana).post("/api/jobs", body, format="json")
    assert answer.status_code == 400
    assert "beta: the method full has no such setting" in answer.json()["error"]


def test_rows_of_another_kind_are_a_400(ana: User, client_of: ClientOf, home: Path) -> None:
    body = body_of(home, "dpo", "prompt_completion")
    answer = client_of(ana).post("/api/jobs", body, format="json")
    assert answer.status_code == 400
    assert "learns from chosen and rejected answers" in answer.json()["error"]


@pytest.mark.parametrize(
    "train",
    [
        {"loss_type": "robust"},
        {"label_smoothing": 0.7},
        {"beta": 0},
        {"loss_type": "hinge", "label_smoothing": 0.1},
    ],
)
def test_settings_out_of_range_are_a_400(
    train: dict[str, Any], ana: User, client_of: ClientOf, home: Path
) -> None:
    answer = client_of(ana).post("/api/jobs", body_of(home, "dpo", train=train), format="json")
    assert answer.status_code == 400, answer.json()
    assert not Job.objects.exists()
