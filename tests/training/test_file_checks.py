"""No run begins on other files than those that were registered."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from accounts.models import User
from registry import code_reviews, files, inspect, model_checks, services
from registry.inspect import folder
from registry.models import CodeReview
from tests.factories import make_experiment, make_job
from tests.registry.conftest import pair
from tests.registry.files import LLAMA, write_json, write_model, write_rows
from training import file_checks, runner
from training.models import Experiment, Job, Status
from training.progress import Fenced

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sent")]


def stays() -> bool:
    return False


def experiment_on(home: Path, user: User, project: Any, **config: Any) -> Experiment:
    folder = write_model(home / "models" / "tiny", config={**LLAMA, **config})
    if config:
        (folder / "modeling_own.py").write_text("")
        code_reviews.approve(code_reviews.ask_for(inspect.custom_code(folder), folder), actor=user)
    rows = write_rows(home / "datasets" / "dates" / "train.jsonl", [pair(n) for n in range(4)])
    return make_experiment(
        base_model=services.register_model(
            user=user, project=project, name="tiny", storage_path=str(folder)
        ),
        dataset=services.register_dataset(
            user=user, project=project, name="dates", storage_path=str(rows.parent)
        ),
    )


@pytest.fixture
def job(home: Path, root: User, project: Any) -> Job:
    return make_job(status=Status.RUNNING, experiment=experiment_on(home, root, project))


@pytest.mark.parametrize(
    ("file", "kind", "sentence"),
    [
        (
            "models/tiny/model.safetensors",
            "bad_model",
            "The files of model 'tiny' are not those that were registered. model.safetensors has "
            "changed",
        ),
        (
            "datasets/dates/train.jsonl",
            "bad_data",
            "The files of dataset 'dates' are not those that were registered. train.jsonl has "
            "changed",
        ),
    ],
)
def test_a_changed_file_fails_the_job_before_it_trains(
    job: Job, home: Path, file: str, kind: str, sentence: str
) -> None:
    with open(home / file, "ab") as changed:
        changed.write(b"\n")
    assert runner.run(job, job.attempt, stays) == "failed"
    job.refresh_from_db()
    assert job.status == Status.FAILED
    assert job.failure is not None
    assert job.failure["kind"] == kind
    assert job.failure["message"].startswith(sentence)
    assert not (home / "runs" / str(job.pk)).exists()


def test_a_missing_file_breaks_the_model(job: Job, home: Path) -> None:
    (home / "models" / "tiny" / "tokenizer.json").unlink()
    runner.run(job, job.attempt, stays)
    model = job.experiment.base_model
    model.refresh_from_db()
    assert (model.status, model.file_problems) == ("broken", ["tokenizer.json is missing."])


def test_a_model_that_could_not_be_checked_is_not_trained_by_a_job_that_waited(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(folder, "read_tokenizer", None)
        model_checks.check(job.experiment.base_model)
    runner.run(job, job.attempt, stays)
    job.refresh_from_db()
    assert job.failure is not None
    assert job.failure["kind"] == "bad_model"
    assert job.failure["message"].startswith("Model 'tiny' could not be checked. Its files could")


def test_untouched_files_are_not_read_again(job: Job, home: Path, monkeypatch: Any) -> None:
    for path in home.rglob("*"):
        os.utime(path, (1_700_000_000, 1_700_000_000))
    assert file_checks.refusal(job, job.attempt, stays) is None
    monkeypatch.setattr(files, "_hash", None)
    assert file_checks.refusal(job, job.attempt, stays) is None


def read_slowly(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So slowly that somebody asks meanwhile."""
    monkeypatch.setattr(files, "WORTH_THREADS_BYTES", 0)
    monkeypatch.setattr(files, "MEANWHILE_SECONDS", 0.0)
    with open(home / "models" / "tiny" / "config.json", "ab") as file:
        file.truncate(1 << 40)


@pytest.mark.parametrize(
    ("asked", "status"), [("cancel_requested_at", "CANCELLED"), ("going_down", "QUEUED")]
)
def test_whoever_stops_the_job_meanwhile_does_not_wait_for_the_disk(
    job: Job, home: Path, monkeypatch: pytest.MonkeyPatch, asked: str, status: str
) -> None:
    read_slowly(home, monkeypatch)
    if asked == "cancel_requested_at":
        Job.objects.filter(pk=job.pk).update(cancel_requested_at=job.started_at)
    runner.run(job, job.attempt, lambda: asked == "going_down")
    job.refresh_from_db()
    assert job.status == status


def test_a_job_that_was_given_to_another_is_left_to_it(
    job: Job, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_slowly(home, monkeypatch)
    attempt = job.attempt
    Job.objects.filter(pk=job.pk).update(attempt=attempt + 1)
    with pytest.raises(Fenced):
        file_checks.refusal(job, attempt, stays)
    assert runner.run(job, attempt, stays) == "fenced"


def test_code_whose_approval_was_withdrawn_does_not_run(
    home: Path, root: User, project: Any
) -> None:
    asks = {"auto_map": {"AutoModelForCausalLM": "modeling_own.Own"}}
    job = make_job(status=Status.RUNNING, experiment=experiment_on(home, root, project, **asks))
    assert file_checks.refusal(job, job.attempt, stays) is None
    [review] = CodeReview.objects.all()
    code_reviews.withdraw(review)
    runner.run(job, job.attempt, stays)
    job.refresh_from_db()
    assert job.failure is not None
    assert job.failure["kind"] == "bad_model"
    assert "is not approved" in job.failure["message"]


def test_the_plan_names_the_code_that_may_run(home: Path, root: User, project: Any) -> None:
    from training import run_plan

    asks = {"auto_map": {"AutoModelForCausalLM": "modeling_own.Own"}}
    job = make_job(status=Status.RUNNING, experiment=experiment_on(home, root, project, **asks))
    assert list(run_plan.plan_of(job).base_model.code) == ["modeling_own.py"]
    write_json(home / "models" / "tiny" / "x.json", {})  # what is new beside it changes nothing
    assert file_checks.refusal(job, job.attempt, stays) is None
