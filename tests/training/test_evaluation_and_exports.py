"""Suites, exports and trackers of a job: asked for, judged, passed on, and taken over."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from accounts.models import User
from registry.models import BaseModel
from tests.factories import make_dataset, make_event, make_experiment, make_job, make_model
from training import outcome, run_plan
from training.models import Artifact, JobEvent, Recipe, Status
from training.progress import take_over
from training.trainer.result import COMPLETED, Result

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sent")]
ClientOf = Callable[[User], APIClient]

TASK = """
task: our_questions
dataset_path: json
dataset_kwargs: {data_files: {test: questions.jsonl}}
"""


@pytest.fixture
def body(home: Path, project: Any) -> dict[str, Any]:
    folder = home / "models" / "tiny"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    (home / "eval_tasks" / "ours.yaml").write_text(TASK, encoding="utf-8")
    model = make_model(storage_path=str(folder), hidden_size=64, num_layers=2, vocab_size=400)
    statistics = {"splits": ["train", "test"], "row_format": "prompt_completion"}
    return {
        "base_model_id": str(model.pk),
        "dataset_id": str(make_dataset(statistics=statistics).pk),
        "recipe_id": str(Recipe.objects.get(name="lora", project=None).pk),
        "train": {"max_steps": 10, "report_to": ["tensorboard"]},
        "resources": {"gpus": 0},
        "eval": {"suites": ["exact_match", "our_questions"], "limit": 20, "num_fewshot": 0},
        "export": ["safetensors", "merged", "onnx", "gguf"],
    }


def preflight(client: APIClient, body: dict[str, Any]) -> dict[str, Any]:
    answer = client.post("/api/experiments/preflight", body, format="json")
    assert answer.status_code == 200, answer.json()
    report: dict[str, Any] = answer.json()
    return report


def test_a_job_may_ask_for_all_of_it(
    ana: User, client_of: ClientOf, body: dict[str, Any], home: Path
) -> None:
    (home / "eval_tasks" / "questions.jsonl").write_text("{}\n")
    answer = client_of(ana).post("/api/jobs", body | {"name": "all of it"}, format="json")
    assert answer.status_code == 201, answer.json()
    job = answer.json()
    assert job["eval"] == body["eval"]
    assert job["export"] == body["export"]
    assert job["train"]["report_to"] == ["tensorboard"]


def test_data_that_is_not_there_is_told_with_the_way_to_get_it(
    ana: User, client_of: ClientOf, body: dict[str, Any], home: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("HF_HOME", str(home / "huggingface"))
    monkeypatch.delenv("HF_DATASETS_CACHE", raising=False)
    body["eval"] = {"suites": ["mmlu", "truthful_qa", "our_questions"]}
    report = preflight(client_of(ana), body)
    assert not report["ok"]
    mmlu, truthful, ours = report["errors"]
    fetch = f"HF_HOME={home}/huggingface python -m training.trainer.suites"
    assert mmlu.startswith(
        "ERROR: Evaluation suite 'mmlu' needs data that is not on this machine: cais/mmlu "
        "abstract_algebra, cais/mmlu anatomy, cais/mmlu astronomy and 54 more. "
    )
    assert mmlu.endswith(f"{fetch} mmlu")
    assert "truthfulqa/truthful_qa generation, truthfulqa/truthful_qa multiple_choice" in truthful
    assert "needs data that is not on this machine: questions.jsonl." in ours


def test_a_suite_that_writes_more_than_the_model_can_hold_is_an_error(
    ana: User, client_of: ClientOf, body: dict[str, Any]
) -> None:
    BaseModel.objects.filter(pk=body["base_model_id"]).update(context_length=256)
    body["eval"] = {"suites": ["truthful_qa"]}
    errors = preflight(client_of(ana), body)["errors"]
    assert any("'truthful_qa' lets the model write up to 256 tokens" in error for error in errors)


def test_a_suite_that_there_is_not_is_an_error(
    ana: User, client_of: ClientOf, body: dict[str, Any], home: Path
) -> None:
    body["eval"] = {"suites": ["mmul"]}
    (error,) = preflight(client_of(ana), body)["errors"]
    assert error == (
        "ERROR: Evaluation suite 'mmul': there is no such task (mmul). There is exact_match, the "
        f"tasks of lm-evaluation-harness, and those described in {home}/eval_tasks."
    )


@pytest.mark.parametrize(
    ("part", "value", "field"),
    [
        ("eval", {"limit": 0}, "eval.limit"),
        ("eval", {"num_fewshot": -1}, "eval.num_fewshot"),
        ("eval", {"include_path": "/etc"}, "eval.include_path"),
        ("train", {"report_to": ["comet"]}, "train.report_to[0]"),
        ("train", {"report_to": "wandb"}, "train.report_to"),
    ],
)
def test_what_cannot_be_is_refused(
    ana: User, client_of: ClientOf, body: dict[str, Any], part: str, value: Any, field: str
) -> None:
    answer = client_of(ana).post("/api/experiments/preflight", {**body, part: value}, format="json")
    assert answer.status_code == 400
    assert field in answer.json()["details"]


# --- what the trainer is told ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "held_out"),
    [
        (["train", "val", "test"], "val"),
        (["train", "valid"], "valid"),
        (["train", "dev"], "dev"),
        (["train", "test"], "test"),
        (["train"], None),
    ],
)
def test_the_rows_that_are_held_out(home: Path, files: list[str], held_out: str | None) -> None:
    rows = home / "datasets" / "rows"
    rows.mkdir()
    for name in files:
        (rows / f"{name}.jsonl").write_text('{"text": "x"}\n', encoding="utf-8")
    experiment = make_experiment(
        dataset=make_dataset(storage_path=str(rows)), eval={"suites": ["mmlu"], "limit": 5}
    )
    plan = run_plan.plan_of(make_job(experiment=experiment))
    assert plan.dataset.validation == ((str(rows / f"{held_out}.jsonl"),) if held_out else ())
    assert plan.eval.include_path == str(home / "eval_tasks")
    assert (plan.eval.harness_suites, plan.eval.limit) == (("mmlu",), 5)


# --- what becomes of it ------------------------------------------------------------------------


@pytest.fixture
def exports(home: Path) -> dict[str, str]:
    """An adapter and its graph on disk."""
    made = {}
    for kind, name in (("safetensors", "adapter_model.safetensors"), ("onnx", "model.onnx")):
        folder = home / "exports" / "job" / kind
        folder.mkdir(parents=True)
        (folder / name).write_bytes(kind.encode())
        (folder / "README.md").write_text(f"# {kind}\n", encoding="utf-8")
        made[kind] = str(folder)
    return made


def test_each_export_becomes_artifacts_and_what_is_missing_is_said(
    exports: dict[str, str], ana: User, client_of: ClientOf
) -> None:
    job = make_job(status=Status.RUNNING, owner=ana, experiment=make_experiment(export=["gguf"]))
    make_event(job, "export_failed", kind="gguf")
    outcome.completed(job, 1, Result(outcome=COMPLETED, step=100, exports=exports))
    assert set(Artifact.objects.values_list("kind", "path")) == {
        ("safetensors", f"{exports['safetensors']}/adapter_model.safetensors"),
        ("safetensors", f"{exports['safetensors']}/README.md"),
        ("onnx", f"{exports['onnx']}/model.onnx"),
        ("onnx", f"{exports['onnx']}/README.md"),
    }
    graph = Artifact.objects.get(path__endswith=".onnx")
    assert (graph.size_bytes, graph.sha256) == (4, hashlib.sha256(b"onnx").hexdigest())
    last = JobEvent.objects.filter(job=job).order_by("cursor").last()
    assert last is not None
    assert last.message == "All steps done; the result is registered. Not exported: gguf."
    told = client_of(ana).get(f"/api/jobs/{job.pk}").json()["artifacts"]
    assert {artifact["kind"] for artifact in told} == {"safetensors", "onnx"}


def test_the_trainers_words_about_exports_and_trackers_become_sentences() -> None:
    job = make_job(status=Status.RUNNING)
    size: dict[str, Any] = {"path": "/x", "size_bytes": 2**20}
    close = {"max_logit_difference": 1e-6, "tolerance": 0.01}
    said: list[dict[str, Any]] = [
        {"event": "export", "kind": "onnx", **size, **close},
        {"event": "export", "kind": "safetensors", **size, **close, "max_logit_difference": 0.5},
        {"event": "export", "kind": "merged", **size, "unchecked": "too little memory"},
        {"event": "export_failed", "kind": "gguf", "message": "No room."},
        {"event": "reporting_failed", "kind": "mlflow", "message": "nobody there"},
    ]
    take_over(job, 1, [{"seq": n, "time": 1.0, **line} for n, line in enumerate(said, 1)], None)
    assert list(JobEvent.objects.order_by("cursor").values_list("message", flat=True)) == [
        "Exported as onnx, 1.0 MiB; loaded again its logits differ by 1e-06 at most.",
        "Exported as safetensors, 1.0 MiB; loaded again its logits differ by 0.5 at most "
        "(too much).",
        "Exported as merged, 1.0 MiB; not compared: too little memory.",
        "No export as gguf: No room.",
        "Nothing more is reported to mlflow: nobody there",
    ]


def test_standard_errors_stand_beside_their_numbers(project: Any) -> None:
    evaluation = {
        "before": {"step": 0, "mmlu_acc": 0.25, "mmlu_acc_stderr": 0.01},
        "after": {"step": 100, "mmlu_acc": 0.5, "mmlu_acc_stderr": 0.02},
    }
    job = make_job(status=Status.COMPLETED, evaluation=evaluation)
    page = Client().get(f"/jobs/{job.pk}").content.decode()
    assert "0.25 ± 0.01" in page
    assert "0.5 ± 0.02" in page
    assert "stderr" not in page
