"""The wizard, begun with a checkpoint of a job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests import factories as make
from tests.pages import Page
from tests.training.wizard.conftest import Walker
from training import run_plan
from training.models import Job, Status

pytestmark = pytest.mark.django_db
Answers = dict[str, dict[str, Any]]


@pytest.fixture
def first(walker: Walker, answers: Answers, home: Path) -> Job:
    """A job that the wizard has made, with a checkpoint of step 5."""
    walker.walk_to("review", answers)
    walker.client.post(f"/jobs/new/{walker.draft_id}/create", {"name": "first"})
    job = Job.objects.get()
    Job.objects.filter(pk=job.pk).update(
        status=Status.FAILED, failure=make.OUT_OF_MEMORY, finished_at=job.created_at
    )
    folder = run_plan.run_dir(job) / "checkpoints" / "step-000005"
    folder.mkdir(parents=True)
    (folder / "adapter.safetensors").write_bytes(b"weights")
    make.make_checkpoint(job, 5, path=str(folder))
    return job


def test_a_branch_goes_on_from_there(walker: Walker, first: Job) -> None:
    again = Walker(walker.user)
    again.begin(f"?clone={first.pk}&step=5")
    again.say("settings", {"train.max_steps": "40"})
    again.say("preflight")
    page = again.see("review")
    assert "Begins with step 5 of first" in page.words
    assert '"resume_from_checkpoint": {' in page.text
    again.client.post(f"/jobs/new/{again.draft_id}/create", {})
    made = Job.objects.exclude(pk=first.pk).get()
    assert made.name == "first, from step 5"
    assert made.experiment.resumed_job == first
    assert (made.experiment.resumed_step, made.step, made.max_steps) == (5, 5, 40)


def test_one_may_begin_with_the_base_model_after_all(walker: Walker, first: Job) -> None:
    again = Walker(walker.user)
    again.begin(f"?clone={first.pk}&step=5")
    again.say("preflight")
    again.client.post(f"/jobs/new/{again.draft_id}/anew")
    assert "Begins with" not in again.see("review").words
    again.client.post(f"/jobs/new/{again.draft_id}/create", {})
    assert Job.objects.exclude(pk=first.pk).get().experiment.resumed_step is None


def test_what_does_not_go_with_the_checkpoint_is_said_on_the_review(
    walker: Walker, first: Job
) -> None:
    again = Walker(walker.user)
    again.begin(f"?clone={first.pk}&step=5")
    again.say("settings", {"lora.r": "4"})
    again.say("preflight")
    response = again.client.post(f"/jobs/new/{again.draft_id}/create", {})
    assert response.status_code == 422
    assert "lora.r : The checkpoint was made with 16." in Page(response).words
    assert Job.objects.count() == 1


@pytest.mark.parametrize("step", ["6", "x", "-1", "9" * 20])
def test_a_checkpoint_that_is_not_there(walker: Walker, first: Job, step: str) -> None:
    response = walker.client.get(f"/jobs/new?clone={first.pk}&step={step}")
    assert response.status_code == 404
