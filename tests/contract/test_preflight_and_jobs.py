"""Preflight and the creation of jobs, sentence by sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rest_framework.test import APIClient

from tests.contract.rows import STATISTICS
from tests.contract.sentences import is_utc, is_uuid
from tests.factories import make_dataset, make_model, make_worker
from training import scheduler
from training.models import Job, Recipe

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("quiet")]
ANSWER = {
    "ok", "warnings", "errors", "estimated_vram_mb", "vram_breakdown", "time_per_step_ms",
    "throughput",
}  # fmt: skip
BREAKDOWN = {
    "model_params_gb", "activations_gb", "gradients_gb", "optimizer_gb", "total_with_buffer_gb",
}  # fmt: skip


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """No message leaves for the broker."""
    monkeypatch.setattr(scheduler, "wake", lambda: None)


@pytest.fixture
def plan(home: Path, project: Any) -> dict[str, Any]:
    """On a machine with one card."""
    make_worker(gpus=1)
    folder = home / "models" / "tiny"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama"}', encoding="utf-8")
    model = make_model(
        storage_path=str(folder),
        hidden_size=64,
        num_layers=2,
        vocab_size=400,
        stage="production",
    )
    return {
        "base_model_id": str(model.pk),
        "dataset_id": str(make_dataset(statistics=STATISTICS, num_samples=20_100).pk),
        "recipe_id": str(Recipe.objects.get(name="lora", project=None).pk),
        "adapters": [],
        "train": {
            "max_steps": 1000,
            "global_batch_size": 8,
            "grad_accum": 4,
            "learning_rate": 2e-5,
        },
        "resources": {
            "gpus": 1,
            "gpu_type": "a100",
            "strategy": "ddp",
            "mixed_precision": "bf16",
        },
    }


def preflight(api: APIClient, body: Any) -> dict[str, Any]:
    answer = api.post("/api/experiments/preflight", body, format="json")
    assert answer.status_code == 200, answer.json()
    report: dict[str, Any] = answer.json()
    return report


def test_preflight_answers_with_every_field(api: APIClient, plan: dict[str, Any]) -> None:
    report = preflight(api, plan)
    assert (report["ok"], report["errors"]) == (True, [])
    assert set(report) >= ANSWER
    assert set(report["vram_breakdown"]) >= BREAKDOWN
    assert set(report["throughput"]) == {"samples_per_second", "tokens_per_second"}
    assert isinstance(report["estimated_vram_mb"], int)
    assert report["time_per_step_ms"] > 0
    assert isinstance(report["warnings"], list)


def test_preflight_warns_of_a_small_dataset(api: APIClient, plan: dict[str, Any]) -> None:
    few = {**STATISTICS, "rows": {"train": 5000}}
    plan["dataset_id"] = str(make_dataset(statistics=few, num_samples=5000).pk)
    warnings = preflight(api, plan)["warnings"]
    assert any("Dataset is small (5000 samples)" in words for words in warnings)


def test_what_is_incompatible_has_errors_and_no_numbers(
    api: APIClient, plan: dict[str, Any]
) -> None:
    quantized = make_model(name="Llama-2-7B-GPTQ", quantized=True, dtype="int4")
    plan["base_model_id"] = str(quantized.pk)
    plan["recipe_id"] = str(Recipe.objects.get(name="full").pk)
    plan["dataset_id"] = str(make_dataset(integrity_passed=False).pk)
    report = preflight(api, plan)
    assert report["ok"] is False
    assert (report["estimated_vram_mb"], report["time_per_step_ms"]) == (0, 0)
    assert (report["vram_breakdown"], report["throughput"]) == ({}, {})
    assert all(words.startswith("ERROR: ") for words in report["errors"])
    said = " ".join(report["errors"])
    assert "does not support quantized models. Model 'Llama-2-7B-GPTQ' is int4." in said
    assert "Dataset failed integrity check." in said


def test_a_job_is_created_with_201_and_whole(api: APIClient, plan: dict[str, Any]) -> None:
    template = {"origin": "template", "template_id": plan["recipe_id"]}
    answer = api.post(
        "/api/jobs",
        {
            **plan,
            "name": "Llama-2-7B Fine-tune on Alpaca",
            "train": {
                **plan["train"],
                "warmup_steps": 100,
                "seed": 42,
                "checkpoint_interval": 100,
            },
            "strategy": {"type": "ddp", "mixed_precision": "bf16"},
            "resources": {"gpus": 1, "gpu_type": "a100", "partition_id": None},
            "eval": {"suites": ["exact_match"], "interval": 100},
            "export": ["safetensors"],
            "metadata": template,
        },
        format="json",
    )
    assert answer.status_code == 201, answer.json()
    job = answer.json()
    assert all(is_uuid(job[name]) for name in ("id", "experiment_id", "celery_task_id"))
    assert is_utc(job["created_at"])
    assert job["name"] == "Llama-2-7B Fine-tune on Alpaca"
    assert job["strategy"] == {"type": "ddp", "mixed_precision": "bf16"}
    assert job["metadata"] == template
    assert {name: job["train"][name] for name in ("warmup_steps", "seed")} == {
        "warmup_steps": 100,
        "seed": 42,
    }


def test_one_that_is_not_to_start_is_pending(api: APIClient, plan: dict[str, Any]) -> None:
    body = {**plan, "name": "later", "start": False}
    answer = api.post("/api/jobs", body, format="json")
    assert (answer.status_code, answer.json()["status"]) == (201, "PENDING")
    assert is_uuid(answer.json()["celery_task_id"])


def test_no_job_is_created_past_a_preflight_that_fails(
    api: APIClient, plan: dict[str, Any]
) -> None:
    plan["dataset_id"] = str(make_dataset(integrity_passed=False).pk)
    answer = api.post("/api/jobs", {**plan, "name": "never"}, format="json")
    assert answer.status_code == 400
    assert "Dataset failed integrity check." in answer.json()["error"]
    assert not Job.objects.exists()


def test_a_template_is_read_by_its_id(api: APIClient, plan: dict[str, Any]) -> None:
    recipe = api.get(f"/api/recipes/{plan['recipe_id']}")
    assert (recipe.status_code, recipe.json()["id"]) == (200, plan["recipe_id"])
