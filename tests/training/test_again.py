"""Another go at what a job did: cloned, from a checkpoint, measured, or with its fault mended."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from accounts.models import User
from tests import factories as make
from tests.pages import Page
from training import again, checkpoints, run_plan
from training.models import Job, Status
from training.trainer import events

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sent")]
ClientOf = Callable[[User], APIClient]
ROWS = {
    "splits": ["train", "validation"],
    "rows": {"train": 20_000, "validation": 100},
    "row_format": "prompt_completion",
    "mean_characters": 80.0,
}
TRAIN = {
    "max_steps": 10,
    "global_batch_size": 8,
    "learning_rate": 2e-4,
    "max_length": 64,
    "optim": "adamw_torch",
    "warmup_steps": 8,
}


@pytest.fixture
def client(ana: User, client_of: ClientOf) -> APIClient:
    return client_of(ana)


@pytest.fixture
def job(home: Path, ana: User) -> Job:
    """Ten steps are done, with a checkpoint of step 6 and evaluations of steps 0, 3 and 6."""
    folder = home / "models" / "tiny"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    model = make.make_model(storage_path=str(folder), hidden_size=64, num_layers=2, vocab_size=400)
    rows = home / "datasets" / "dates"
    rows.mkdir()
    (rows / "train.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    (rows / "validation.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    dataset = make.make_dataset(statistics=ROWS, storage_path=str(rows))
    experiment = make.make_experiment(
        base_model=model,
        dataset=dataset,
        train=TRAIN,
        lora={"r": 8, "lora_alpha": 16, "target_modules": "all-linear"},
        eval={"interval": 3},
    )
    job = make.make_job(status=Status.COMPLETED, owner=ana, name="first", experiment=experiment)
    make.make_metrics(job, [3.0 - n / 10 for n in range(10)])
    for step, loss in ((0, 3.5), (3, 2.8), (6, 2.5), (10, 2.1)):
        make.make_event(job, events.EVALUATION, step=step, eval_loss=loss)
        row = job.events.latest("cursor")
        row.facts = {"step": step, "eval_loss": loss}
        row.save()
    place = run_plan.run_dir(job) / "checkpoints" / "step-000006"
    place.mkdir(parents=True)
    (place / "adapter.safetensors").write_bytes(b"weights of 6")
    make.make_checkpoint(job, 6, path=str(place), size_bytes=12)
    return job


def body_of(job: Job, **changes: Any) -> dict[str, Any]:
    experiment = job.experiment
    return {
        "name": "branch",
        "base_model_id": str(experiment.base_model_id),
        "dataset_id": str(experiment.dataset_id),
        "recipe_id": str(experiment.recipe_id),
        "train": {**TRAIN, "max_steps": 20},
        "lora": experiment.lora,
        "resources": {"gpus": 0},
        "resume_from_checkpoint": {"job_id": str(job.pk), "step": 6},
        **changes,
    }


# --- From a checkpoint ---------------------------------------------------------------------------


def test_a_job_begins_with_a_checkpoint_of_another(client: APIClient, job: Job) -> None:
    answer = client.post("/api/jobs", body_of(job), format="json")
    assert answer.status_code == 201, answer.json()
    told = answer.json()
    assert told["resume_from_checkpoint"] == {"job_id": str(job.pk), "step": 6}
    made = Job.objects.get(pk=told["id"])
    folder = run_plan.run_dir(made)
    copy = folder / "checkpoints" / "step-000006" / "adapter.safetensors"
    assert copy.read_bytes() == b"weights of 6"
    assert os.stat(copy).st_nlink == 2  # it takes no room
    assert [c.step for c in made.checkpoints.all()] == [6]

    # The way there is its own: its curve and its first evaluation do not begin in the middle.
    assert list(made.metrics.values_list("step", flat=True)) == [1, 2, 3, 4, 5, 6]
    assert made.evaluation["before"]["eval_loss"] == 3.5
    assert (made.step, made.progress["percent"]) == (6, 30.0)
    lines, _ = events.follow(folder / events.FILE_NAME, 0)
    assert [line["seq"] for line in lines] == list(range(1, 10))
    assert made.trainer_seq == 9  # none of it is taken over again
    assert [line["step"] for line in lines if line["event"] == "evaluation"] == [0, 3, 6]
    assert "It begins with step 6 of 'first'." in [e.message for e in made.events.all()]
    page = Page(signed_in(job.created_by).get(f"/jobs/{made.pk}"))
    assert "begins with step 6 of first" in page.words


def test_its_files_are_its_own(client: APIClient, job: Job, home: Path) -> None:
    made = client.post("/api/jobs", body_of(job), format="json").json()["id"]
    checkpoints.remove(checkpoints.folder_of(job.checkpoints.get()))
    copy = home / "runs" / made / "checkpoints" / "step-000006" / "adapter.safetensors"
    assert copy.read_bytes() == b"weights of 6"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"lora": {"r": 16}}, "lora.r"),
        ({"train": {**TRAIN, "optim": "sgd"}}, "train.optim"),
        ({"train": {**TRAIN, "max_steps": 5}}, "train.max_steps"),
        ({"resume_from_checkpoint": {"job_id": "x", "step": 6}}, "resume_from_checkpoint.job_id"),
        ({"resume_from_checkpoint": {"step": 6}}, "resume_from_checkpoint.job_id"),
    ],
)
def test_what_does_not_go_with_a_checkpoint_is_refused(
    client: APIClient, job: Job, changes: dict[str, Any], field: str
) -> None:
    answer = client.post("/api/jobs", body_of(job, **changes), format="json")
    assert answer.status_code == 400
    assert field in answer.json()["details"]
    assert Job.objects.count() == 1


def test_another_base_model_is_refused(client: APIClient, job: Job) -> None:
    other = make.make_model(storage_path=job.experiment.base_model.storage_path)
    answer = client.post("/api/jobs", body_of(job, base_model_id=str(other.pk)), format="json")
    assert answer.status_code == 400
    assert "base_model_id" in answer.json()["details"]


def test_the_fused_optimizer_goes_on_with_the_other(client: APIClient, job: Job) -> None:
    train = {**TRAIN, "optim": "adamw_torch_fused"}
    assert client.post("/api/jobs", body_of(job, train=train), format="json").status_code == 201


def test_a_stranger_does_not_find_the_checkpoint(
    client_of: ClientOf, stranger: User, job: Job
) -> None:
    theirs = body_of(job)
    answer = client_of(stranger).post("/api/jobs", theirs, format="json")
    assert answer.status_code in (400, 403)
    assert Job.objects.count() == 1


def test_where_the_job_is_not_made_no_files_are_left(
    client: APIClient, job: Job, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("the database went away")

    monkeypatch.setattr("training.services.record", breaks)
    with pytest.raises(RuntimeError):
        again.clone(
            job, actor=job.created_by, project_id=job.project_id,
            resume_from=job.checkpoints.get(),
        )  # fmt: skip
    assert [p.name for p in (home / "runs").iterdir()] == [str(job.pk)]


def test_where_the_best_is_kept_no_evaluation_names_what_is_not_there(job: Job) -> None:
    patch = {"train": {"load_best_model_at_end": True, "max_steps": 20}}
    made = again.clone(
        job, actor=job.created_by, project_id=job.project_id, patch=patch,
        resume_from=job.checkpoints.get(),
    )  # fmt: skip
    steps = made.events.filter(event=events.EVALUATION).values_list("step", flat=True)
    assert list(steps) == [0, 6]


# --- Cloned --------------------------------------------------------------------------------------


def test_a_clone_has_the_same_settings_but_those_that_are_named(
    client: APIClient, job: Job
) -> None:
    answer = client.post(
        f"/api/jobs/{job.pk}/clone",
        {"name": "second", "train": {"learning_rate": 1e-5}, "start": False},
        format="json",
    )
    assert answer.status_code == 201, answer.json()
    assert answer["Location"] == f"/api/jobs/{answer.json()['id']}"
    made = Job.objects.get(pk=answer.json()["id"])
    assert (made.name, made.status) == ("second", Status.PENDING)
    assert made.experiment.train["learning_rate"] == 1e-5
    assert made.experiment.train["max_steps"] == 10
    assert made.experiment.lora["r"] == 8
    assert made.metadata == {"origin": "clone", "job_id": str(job.pk)}


def test_epochs_take_the_place_of_steps(client: APIClient, job: Job) -> None:
    asked = {"train": {"num_train_epochs": 2}}
    made = client.post(f"/api/jobs/{job.pk}/clone", asked, format="json").json()
    assert made["train"]["num_train_epochs"] == 2
    assert "max_steps" not in made["train"]


def test_a_clone_from_a_checkpoint(client: APIClient, job: Job) -> None:
    asked = {"step": 6, "train": {"max_steps": 30}}
    made = client.post(f"/api/jobs/{job.pk}/clone", asked, format="json").json()
    assert made["resume_from_checkpoint"] == {"job_id": str(job.pk), "step": 6}
    refused = client.post(f"/api/jobs/{job.pk}/clone", {"step": 6, "lora": {"r": 4}}, format="json")
    assert refused.json()["details"] == {"lora.r": "The checkpoint was made with 8."}
    assert client.post(f"/api/jobs/{job.pk}/clone", {"step": 7}, format="json").status_code == 404


@pytest.mark.parametrize(
    "body", [{"steps": 6}, {"train": {"colour": 1}}, {"step": 0}, {"name": ""}]
)
def test_a_clone_that_cannot_be(client: APIClient, job: Job, body: dict[str, Any]) -> None:
    answer = client.post(f"/api/jobs/{job.pk}/clone", body, format="json")
    assert answer.status_code == 400
    assert answer.json()["details"]


# --- A checkpoint, measured ----------------------------------------------------------------------


def test_a_checkpoint_is_measured_by_a_job_that_takes_no_step(client: APIClient, job: Job) -> None:
    answer = client.post(f"/api/jobs/{job.pk}/checkpoints/6/evaluate")
    assert answer.status_code == 201, answer.json()
    made = Job.objects.get(pk=answer.json()["id"])
    assert made.name == "first, step 6"
    assert (made.step, made.max_steps) == (6, 6)
    assert made.experiment.train["warmup_steps"] == 5
    Job.objects.filter(pk=made.pk).update(evaluation={"after": {"step": 6, "exact_match": 0.5}})
    job.events.filter(step=6).delete()  # it was not measured on the way
    page = Page(signed_in(job.created_by).get(f"/jobs/{job.pk}"))
    assert "Measured by first, step 6" in page.words
    assert "exact match 0.5" in page.words


# --- Failed --------------------------------------------------------------------------------------


def failed(job: Job, kind: str) -> Job:
    failure = {"kind": kind, "message": "It broke.", "advice": "Mend it."}
    Job.objects.filter(pk=job.pk).update(status=Status.FAILED, failure=failure)
    job.refresh_from_db()
    return job


def test_out_of_memory_is_fixed_and_goes_on_from_the_last_checkpoint(job: Job) -> None:
    page = Page(signed_in(job.created_by).get(f"/jobs/{failed(job, 'out_of_memory').pk}"))
    assert page.forms_to(f"/jobs/{job.pk}/fix")
    titles = [field["value"] for field in page.all("input") if field.get("name") == "title"]
    assert "Turn on gradient checkpointing" in titles
    response = signed_in(job.created_by).post(
        f"/jobs/{job.pk}/fix", {"title": "Turn on gradient checkpointing"}, follow=True
    )
    made = Job.objects.exclude(pk=job.pk).get()
    assert response.redirect_chain == [(f"/jobs/{made.pk}", 302)]
    assert (made.name, made.status) == ("first, fixed", Status.QUEUED)
    assert made.experiment.train["gradient_checkpointing"] is True
    assert made.experiment.resumed_step == 6


def test_every_fix_that_is_offered_makes_a_job(job: Job) -> None:
    for fix in again.fixes(failed(job, "out_of_memory")):
        made = again.fix_and_retry(job, fix["title"], actor=job.created_by)
        assert (made.experiment.resumed_step == 6) == fix["keeps_result"]


def test_one_that_diverged_learns_more_slowly_from_the_beginning(job: Job) -> None:
    [fix] = again.fixes(failed(job, "diverged"))
    made = again.fix_and_retry(job, fix["title"], actor=job.created_by)
    assert made.experiment.train["learning_rate"] == 6e-5
    assert made.experiment.resumed_step is None


def test_nobody_knows_a_fix_for_a_bug(job: Job) -> None:
    assert again.fixes(failed(job, "bug")) == []
    response = signed_in(job.created_by).post(f"/jobs/{job.pk}/fix", {"title": "Hope"})
    assert response.status_code == 409
    assert "'Hope' is not offered any more." in Page(response).words


@pytest.mark.parametrize(
    "address", ["fix", "checkpoints/6/evaluate", "checkpoints/6/delete", "delete"]
)
def test_buttons_are_for_members(job: Job, viewer: User, stranger: User, address: str) -> None:
    assert signed_in(viewer).post(f"/jobs/{job.pk}/{address}").status_code == 403
    assert signed_in(stranger).post(f"/jobs/{job.pk}/{address}").status_code == 404
    assert Job.objects.count() == 1
    assert job.checkpoints.count() == 1


def signed_in(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client
