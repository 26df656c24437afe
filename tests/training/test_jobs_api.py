"""POST /api/jobs and what one can do with a job afterwards."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts.models import User
from activity.models import Activity
from tests.factories import (
    make_dataset,
    make_event,
    make_job,
    make_metrics,
    make_model,
    make_worker,
)
from training.models import Experiment, Job, Recipe, Status
from training.trainer import spec

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sent")]
ClientOf = Callable[[User], APIClient]


@pytest.fixture
def body(home: Path, project: Any) -> dict[str, Any]:
    """A job that can run: everything the contract's example has, small."""
    folder = home / "models" / "tiny"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    model = make_model(
        storage_path=str(folder), hidden_size=64, num_layers=2, vocab_size=400, stage="production"
    )
    dataset = make_dataset(
        statistics={
            "splits": ["train", "validation"],
            "rows": {"train": 20_000, "validation": 100},
            "row_format": "prompt_completion",
            "mean_characters": 80.0,
        }
    )
    return {
        "name": "Tiny fine-tune",
        "base_model_id": str(model.pk),
        "dataset_id": str(dataset.pk),
        "recipe_id": str(Recipe.objects.get(name="full").pk),
        "adapters": [],
        "train": {
            "max_steps": 1000,
            "global_batch_size": 8,
            "grad_accum": 4,
            "learning_rate": 2e-5,
            "warmup_steps": 100,
            "seed": 42,
            "checkpoint_interval": 100,
            "max_length": 256,
        },
        "strategy": {"type": "ddp", "mixed_precision": "no"},
        "resources": {"gpus": 0, "partition_id": None},
        "eval": {"suites": ["exact_match"], "interval": 100},
        "export": ["safetensors"],
        "metadata": {"origin": "template", "template_id": str(uuid.uuid4())},
    }


def post(client: APIClient, body: Any) -> Any:
    return client.post("/api/jobs", body, format="json")


def test_a_job_is_created_and_queued(
    ana: User, client_of: ClientOf, body: dict[str, Any], sent: list[dict[str, Any]]
) -> None:
    answer = post(client_of(ana), body)
    assert answer.status_code == 201, answer.json()
    job = answer.json()
    assert job["status"] == "PENDING"  # as it was created
    assert Job.objects.get().status == Status.QUEUED
    assert len(job["id"]) == len(job["celery_task_id"]) == len(job["experiment_id"]) == 36
    assert job["train"]["max_steps"] == 1000
    assert job["train"]["lr_scheduler_type"] == "cosine"  # the recipe's default
    assert job["strategy"] == {"type": "ddp", "mixed_precision": "no"}
    assert job["metadata"] == body["metadata"]
    assert job["progress"] == {"step": 0, "max_steps": 1000, "percent": 0.0, "eta_s": None}
    assert job["experiment"]["id"] == job["experiment_id"]
    assert (job["artifacts"], job["result"]) == ([], None)
    assert job["experiment"]["recipe_version"] == 1
    assert job["preflight"]["ok"] is True
    activity = Activity.objects.get()
    assert (activity.event_type, activity.entity_id) == ("job_created", uuid.UUID(job["id"]))


@pytest.mark.django_db(transaction=True)
def test_the_scheduler_is_woken_after_the_commit(
    ana: User, client_of: ClientOf, body: dict[str, Any], sent: list[dict[str, Any]]
) -> None:
    post(client_of(ana), body)
    assert {message["name"] for message in sent} == {"training.dispatch", "activity.deliver"}


def test_one_that_is_not_to_start_waits_for_its_start(
    ana: User, client_of: ClientOf, body: dict[str, Any]
) -> None:
    client = client_of(ana)
    job = post(client, {**body, "start": False}).json()
    assert job["status"] == "PENDING"
    started = client.post(f"/api/jobs/{job['id']}/start")
    assert (started.status_code, started.json()["status"]) == (200, "QUEUED")
    again = client.post(f"/api/jobs/{job['id']}/start")
    assert again.status_code == 409
    assert again.json()["error"] == "Job 'Tiny fine-tune' is QUEUED and cannot become QUEUED."


def test_the_least_that_a_body_needs(ana: User, client_of: ClientOf, body: dict[str, Any]) -> None:
    needed = ("name", "base_model_id", "dataset_id", "recipe_id")
    answer = post(client_of(ana), {key: body[key] for key in needed})
    assert answer.status_code == 201, answer.json()
    assert answer.json()["resources"] == {"gpus": 0}  # no card anywhere: the CPU


@pytest.mark.parametrize("missing", ["name", "base_model_id", "dataset_id", "recipe_id"])
def test_what_is_missing_is_named(
    ana: User, client_of: ClientOf, body: dict[str, Any], missing: str
) -> None:
    del body[missing]
    answer = post(client_of(ana), body)
    assert answer.status_code == 400
    assert answer.json()["details"] == {missing: "This field is required."}
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"base_model_id": "42"}, "base_model_id", "valid UUID"),
        ({"dataset_id": str(uuid.uuid4())}, "dataset_id", "does not exist"),
        ({"train": {"max_steps": 0}}, "train.max_steps", "greater than or equal to 1"),
        ({"train": {"max_steps": "many"}}, "train.max_steps", "valid integer"),
        ({"train": {"max_step": 10}}, "train.max_step", "no such setting"),
        ({"train": {"optim": "magic"}}, "train.optim", "not a valid choice"),
        ({"train": [1]}, "train", "Expected a dictionary"),
        ({"resources": {"gpus": -1}}, "resources.gpus", "greater than or equal to 0"),
        ({"resources": {"partition_id": str(uuid.uuid4())}}, "resources.partition_id", "no such"),
        ({"lora": {"target_modules": 7}}, "lora.target_modules", "all-linear"),
        ({"adapters": [{"adapter_id": "x"}]}, "adapters[0].adapter_id", "valid UUID"),
        ({"name": "x" * 300}, "name", "no more than 200"),
        ({"start": "perhaps"}, "start", "valid boolean"),
        (
            {"strategy": {"type": "fsdp"}, "resources": {"gpus": 0, "strategy": "ddp"}},
            "strategy.strategy",
            "contradicts 'ddp'",
        ),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_written(
    ana: User,
    client_of: ClientOf,
    body: dict[str, Any],
    change: dict[str, Any],
    field: str,
    words: str,
) -> None:
    answer = post(client_of(ana), {**body, **change})
    assert answer.status_code == 400
    assert words in answer.json()["details"][field]
    assert field in answer.json()["error"]
    assert not Job.objects.exists()
    assert not Experiment.objects.exists()
    assert not Activity.objects.exists()


def test_preflight_refuses_what_cannot_work(
    ana: User, client_of: ClientOf, body: dict[str, Any]
) -> None:
    make_dataset()
    from registry.models import Dataset

    Dataset.objects.filter(pk=body["dataset_id"]).update(integrity_passed=False)
    answer = post(client_of(ana), body)
    assert answer.status_code == 400
    wanted = (
        "ERROR: Dataset failed integrity check. Please review and fix dataset issues before "
        "training."
    )
    assert answer.json()["error"] == wanted
    report = answer.json()["details"]["preflight"]
    assert (report["ok"], report["errors"]) == (False, [wanted])
    assert not Job.objects.exists()


def test_a_job_for_cards_that_this_partition_does_not_have_is_refused_at_once(
    ana: User, client_of: ClientOf, body: dict[str, Any]
) -> None:
    make_worker()  # one CPU slot
    answer = post(client_of(ana), {**body, "resources": {"gpus": 1, "gpu_type": "a100"}})
    assert answer.status_code == 400
    assert "a100" in answer.json()["error"]


def test_preflight_alone_writes_nothing(
    ana: User, client_of: ClientOf, body: dict[str, Any]
) -> None:
    asked = {key: body[key] for key in body if key not in ("name", "metadata", "export")}
    answer = client_of(ana).post("/api/experiments/preflight", asked, format="json")
    assert answer.status_code == 200
    report = answer.json()
    assert report["ok"] is True
    assert report["estimated_vram_mb"] > 0
    assert set(report["vram_breakdown"]) >= {
        "model_params_gb", "activations_gb", "gradients_gb", "optimizer_gb", "total_with_buffer_gb",
    }  # fmt: skip
    total_mb = report["vram_breakdown"]["total_with_buffer_gb"] * 1024
    assert report["estimated_vram_mb"] == pytest.approx(total_mb, abs=1)
    assert report["time_per_step_ms"] > 0
    assert set(report["throughput"]) == {"samples_per_second", "tokens_per_second"}
    assert not Experiment.objects.exists()


@pytest.mark.parametrize("status", [Status.PENDING, Status.QUEUED, Status.PAUSED])
def test_a_job_that_is_not_training_is_cancelled_at_once(
    ana: User, client_of: ClientOf, status: str
) -> None:
    job = make_job(status=status)
    answer = client_of(ana).post(f"/api/jobs/{job.pk}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (200, "CANCELLED")
    assert Activity.objects.get().event_type == "job_cancelled"


def test_a_job_that_is_training_is_asked_to_stop(ana: User, client_of: ClientOf) -> None:
    job = make_job(status=Status.RUNNING)
    client = client_of(ana)
    answer = client.post(f"/api/jobs/{job.pk}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (200, "RUNNING")
    assert answer.json()["cancel_requested_at"] is not None
    assert client.post(f"/api/jobs/{job.pk}/cancel").status_code == 200  # asking twice is no error
    assert job.events.count() == 1


def test_a_job_that_has_ended_cannot_be_cancelled(ana: User, client_of: ClientOf) -> None:
    job = make_job(status=Status.COMPLETED)
    answer = client_of(ana).post(f"/api/jobs/{job.pk}/cancel")
    assert answer.status_code == 409
    assert answer.json()["error"].endswith("is COMPLETED and cannot become CANCELLED.")


def test_pause_and_resume(ana: User, client_of: ClientOf) -> None:
    client = client_of(ana)
    job = make_job(status=Status.RUNNING)
    assert client.post(f"/api/jobs/{job.pk}/pause").json()["status"] == "PAUSING"
    Job.objects.update(status=Status.PAUSED)
    resumed = client.post(f"/api/jobs/{job.pk}/resume").json()
    assert (resumed["status"], resumed["attempt"]) == ("QUEUED", 2)


@pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELLED])
def test_retry_queues_the_next_attempt(ana: User, client_of: ClientOf, status: str) -> None:
    job = make_job(status=status, celery_task_id=str(uuid.uuid4()))
    answer = client_of(ana).post(f"/api/jobs/{job.pk}/retry").json()
    assert (answer["status"], answer["attempt"], answer["failure"]) == ("QUEUED", 2, None)
    assert answer["celery_task_id"] != job.celery_task_id


VERBS = ("start", "cancel", "pause", "resume", "retry")
PARTS = ("metrics", "logs", "events", "checkpoints", "artifacts")


def test_a_stranger_sees_nothing_and_does_nothing(stranger: User, client_of: ClientOf) -> None:
    job, client = make_job(status=Status.RUNNING), client_of(stranger)
    assert client.get("/api/jobs").json()["total"] == 0
    assert client.get(f"/api/jobs/{job.pk}").status_code == 404
    for part in PARTS:
        assert client.get(f"/api/jobs/{job.pk}/{part}").status_code == 404
    for verb in VERBS:
        assert client.post(f"/api/jobs/{job.pk}/{verb}").status_code == 404


def test_a_viewer_looks_but_does_not_touch(
    viewer: User, client_of: ClientOf, body: dict[str, Any]
) -> None:
    job, client = make_job(status=Status.RUNNING), client_of(viewer)
    assert client.get(f"/api/jobs/{job.pk}").status_code == 200
    for verb in VERBS:
        assert client.post(f"/api/jobs/{job.pk}/{verb}").status_code == 403
    assert post(client, body).status_code == 403


def test_metrics_come_step_by_step_or_thinned(ana: User, client_of: ClientOf) -> None:
    job, client = make_job(status=Status.RUNNING), client_of(ana)
    make_metrics(job, [1 / n for n in range(1, 101)])
    rows = client.get(f"/api/jobs/{job.pk}/metrics").json()
    assert [row["step"] for row in rows["metrics"]] == list(range(1, 101))
    assert rows["total"] == 100
    thinned = client.get(f"/api/jobs/{job.pk}/metrics?points=10").json()["metrics"]
    assert [row["step"] for row in thinned] == [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]
    after = client.get(f"/api/jobs/{job.pk}/metrics?after={rows['metrics'][97]['cursor']}").json()
    assert [row["step"] for row in after["metrics"]] == [99, 100]


def test_the_log_is_read_by_byte_offset(ana: User, client_of: ClientOf, home: Path) -> None:
    job, client = make_job(status=Status.RUNNING), client_of(ana)
    empty = client.get(f"/api/jobs/{job.pk}/logs").json()
    assert empty == {"text": "", "offset": 0, "next_offset": 0, "size": 0}
    folder = home / "runs" / str(job.pk)
    folder.mkdir()
    (folder / "log.txt").write_bytes("Schritt für Schritt\n".encode())
    whole = client.get(f"/api/jobs/{job.pk}/logs").json()
    assert (whole["text"], whole["next_offset"]) == ("Schritt für Schritt\n", 21)
    rest = client.get(f"/api/jobs/{job.pk}/logs?offset=13").json()
    assert rest["text"] == "Schritt\n"
    assert client.get(f"/api/jobs/{job.pk}/logs?offset=999").json()["text"] == ""


def test_events_come_from_a_cursor_on(ana: User, client_of: ClientOf) -> None:
    job = make_job(status=Status.RUNNING)
    for name in ("queued", "running", "plan"):
        make_event(job, name)
    found = client_of(ana).get(f"/api/jobs/{job.pk}/events?after=1").json()
    assert [row["event"] for row in found["events"]] == ["running", "plan"]


@pytest.mark.parametrize(
    ("query", "field"),
    [("status=ASLEEP", "status"), ("project=x", "project"), ("base_model_id=7", "base_model_id")],
)
def test_a_filter_that_cannot_be_is_refused(
    ana: User, client_of: ClientOf, query: str, field: str
) -> None:
    answer = client_of(ana).get(f"/api/jobs?{query}")
    assert answer.status_code == 400
    assert field in answer.json()["details"]


def test_jobs_are_filtered_by_status_and_name(ana: User, client_of: ClientOf) -> None:
    make_job(name="alpha", status=Status.RUNNING)
    make_job(name="beta", status=Status.FAILED)
    make_job(name="alphabet", status=Status.COMPLETED)
    client = client_of(ana)
    names = [row["name"] for row in client.get("/api/jobs?q=ALPHA").json()["jobs"]]
    assert names == ["alphabet", "alpha"]
    found = client.get("/api/jobs?status=FAILED&status=RUNNING").json()["jobs"]
    assert [row["name"] for row in found] == ["beta", "alpha"]


def test_the_list_costs_the_same_queries_however_long_it_is(
    ana: User, client_of: ClientOf, django_assert_num_queries: Any
) -> None:
    for _ in range(12):
        make_job()
    client = client_of(ana)
    client.get("/api/jobs")
    with django_assert_num_queries(4):  # session, user, count, rows
        client.get("/api/jobs")


def test_the_built_in_recipes_cover_every_method(ana: User, client_of: ClientOf) -> None:
    recipes = client_of(ana).get("/api/recipes").json()["recipes"]
    assert {row["method"] for row in recipes} == set(spec.METHODS)
    for row in recipes:
        assert row["modality"] == spec.METHODS[row["method"]].modality
        train = spec.TrainSpec(**row["defaults"]["train"])
        assert spec.method_problem(row["method"], train) == ""
    assert {"id", "name", "display_name", "description", "method", "modality"} <= set(recipes[0])
