"""Drafts: how they begin and end, and that they are their owners' alone."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import User
from registry.models import BaseModel, Dataset
from tests import factories as make
from tests.pages import Page
from tests.training.wizard.conftest import ROWS, Walker
from training import tasks
from training.models import Draft, Job, Recipe
from training.wizard import expiry
from training.wizard.steps import NAMES

pytestmark = pytest.mark.django_db
Answers = dict[str, dict[str, Any]]


def test_it_begins_with_what_the_address_says(
    walker: Walker, model: BaseModel, dataset: Dataset
) -> None:
    lora = Recipe.objects.get(name="lora")
    page = walker.begin(f"?recipe=lora&dataset={dataset.pk}&model={model.pk}")
    assert "What should it learn from?" in page.words
    chosen = {box["value"] for box in page.all("input") if "checked" in box}
    assert chosen == {str(dataset.pk)}
    assert walker.draft.answers["recipe_id"] == str(lora.pk)
    assert walker.draft.metadata == {"origin": "template", "template_id": str(lora.pk)}
    by_id = Walker(walker.user)
    by_id.begin(f"?recipe={lora.pk}")
    assert by_id.draft.answers == {"recipe_id": str(lora.pk)}


@pytest.mark.parametrize(
    "query", ["recipe=nothing", "model=7", f"dataset={uuid.uuid4()}", "clone=x"]
)
def test_what_is_not_there_is_not_begun_with(walker: Walker, query: str) -> None:
    assert walker.client.get(f"/jobs/new?{query}").status_code == 404
    assert not Draft.objects.exists()


def test_a_job_is_cloned_with_all_that_was_said(walker: Walker, answers: Answers) -> None:
    settings = {"train.max_steps": "10", "train.learning_rate": "7e-4", "lora.r": "8"}
    walker.walk_to("review", {**answers, "settings": settings})
    walker.client.post(f"/jobs/new/{walker.draft_id}/create", {"name": "first"})
    first = Job.objects.get()
    again = Walker(walker.user)
    again.begin(f"?clone={first.pk}")
    assert again.draft.done == ["model", "data", "style", "settings", "resources"]
    said = {k: v for k, v in again.draft.answers.items() if k.startswith(("train.", "lora."))}
    assert said == {"train.max_steps": "10", "train.learning_rate": "0.0007", "lora.r": "8"}
    again.say("preflight")
    again.client.post(f"/jobs/new/{again.draft_id}/create", {})
    second = Job.objects.exclude(pk=first.pk).get()
    assert second.name == "first (copy)"
    assert second.experiment.train == first.experiment.train
    assert second.experiment.lora == first.experiment.lora
    assert second.metadata == {"origin": "clone", "job_id": str(first.pk)}


def test_beginning_twice_without_a_word_makes_one_draft(walker: Walker, model: BaseModel) -> None:
    walker.begin()
    walker.begin()
    assert Draft.objects.count() == 1
    walker.say("model", {"base_model_id": str(model.pk)})
    walker.begin()
    assert Draft.objects.count() == 2


def test_drafts_are_listed_go_on_and_can_be_discarded(walker: Walker, answers: Answers) -> None:
    walker.walk_to("style", answers)
    page = Page(walker.client.get("/jobs"))
    page.check_outline()
    assert "Not created yet" in page.words
    assert walker.draft.title in page.words
    on = walker.client.get(f"/jobs/new/{walker.draft_id}")
    assert on["Location"] == walker.at("style")
    walker.client.post(f"/jobs/new/{walker.draft_id}/discard")
    assert not Draft.objects.exists()
    assert "Not created yet" not in walker.client.get("/jobs").content.decode()


def test_old_drafts_are_forgotten_and_their_jobs_stay(walker: Walker, answers: Answers) -> None:
    walker.walk_to("review", answers)
    walker.client.post(f"/jobs/new/{walker.draft_id}/create", {"name": "kept"})
    fresh = Walker(walker.user)
    fresh.begin()
    long_ago = timezone.now() - expiry.KEPT - timedelta(hours=1)
    Draft.objects.filter(pk=walker.draft_id).update(updated_at=long_ago)
    assert expiry.forget_old() == 1
    assert [str(draft.pk) for draft in Draft.objects.all()] == [fresh.draft_id]
    assert Job.objects.filter(name="kept").exists()


def test_they_are_forgotten_every_hour() -> None:
    beat = settings.CELERY_BEAT_SCHEDULE["forget_old_drafts"]
    assert beat["task"] == tasks.forget_old_drafts.name
    tasks.forget_old_drafts()


# --- Whose it is ---------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["", "/model", "/fix", "/discard", "/create", "/recipe"])
def test_a_draft_is_its_owners_alone(
    walker: Walker, bob: User, stranger: User, action: str
) -> None:
    walker.begin()
    for user in (bob, stranger):
        other = Client()
        other.force_login(user)
        address = f"/jobs/new/{walker.draft_id}{action}"
        assert other.post(address).status_code in (404, 405)
        assert other.get(address).status_code in (404, 405)
    assert Draft.objects.count() == 1


def test_a_viewer_cannot_begin(viewer: User) -> None:
    client = Client()
    client.force_login(viewer)
    response = client.get("/jobs/new")
    assert response.status_code == 403
    assert not Draft.objects.exists()


def test_a_stranger_sees_and_chooses_nothing_of_others(
    stranger: User, model: BaseModel, dataset: Dataset
) -> None:
    walker = Walker(stranger)
    assert model.name not in walker.begin().words
    assert walker.draft.project.name == "Elsewhere"
    walker.say("model", {"base_model_id": str(model.pk)}, status=422)
    assert walker.client.get(f"/jobs/new?model={model.pk}").status_code == 404


def test_pages_ask_the_same_number_of_questions_however_much_there_is(
    walker: Walker, answers: Answers
) -> None:
    walker.walk_to("review", answers)

    def questions() -> dict[str, int]:
        counts = {}
        for step in NAMES:
            with CaptureQueriesContext(connection) as asked:
                walker.client.get(walker.at(step))
            counts[step] = len(asked)
        return counts

    def fill(rows: int) -> None:
        for _ in range(rows):
            make.make_model()
            make.make_dataset(statistics=ROWS)
            make.make_dataset(modality="image")
            make.make_recipe()
            make.make_worker(partition=f"p-{uuid.uuid4().hex[:6]}")

    fill(1)
    few = questions()
    fill(3)
    assert questions() == few
    assert max(few.values()) <= 24
