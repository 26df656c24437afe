"""The end of the wizard: the job, once; the call that makes the same; a recipe to use again."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest
from django.test import RequestFactory
from django.utils.html import escape
from rest_framework.test import APIClient

from accounts.models import Membership, Project, User
from tests import factories as make
from tests.training.wizard.conftest import Walker
from training import api_call, services
from training.models import Draft, Experiment, Job, Recipe, Status
from training.wizard import call, drafts
from training.wizard.sheet import Sheet

pytestmark = pytest.mark.django_db
Answers = dict[str, dict[str, Any]]
SETTINGS = {
    "train.max_steps": "10",
    "train.learning_rate": "7e-4",
    "train.gradient_checkpointing": "true",
    "lora.r": "8",
    "lora.target_modules": "q_proj, v_proj",
}


def create(walker: Walker, **answers: str) -> Any:
    return walker.client.post(f"/jobs/new/{walker.draft_id}/create", answers)


def said_by_curl(text: str) -> tuple[str, dict[str, Any]]:
    """What a shell would make of it: the address and the body."""
    words = shlex.split(text.replace("\\\n", " "))
    assert words[0] == "curl"
    return words[1], json.loads(words[words.index("-d") + 1])


def test_the_call_that_is_shown_makes_the_same_job(
    walker: Walker, answers: Answers, ana: User, client_of: Any
) -> None:
    resources = {"eval.interval": "5", "export": "merged"}
    walker.walk_to("review", {**answers, "settings": SETTINGS, "resources": resources})
    walker.save("review", {"name": 'it\'s "quoted"', "start": "false"})
    page = walker.client.get(walker.at("review")).content.decode()
    sheet = Sheet(walker.draft, ana)
    shown = api_call.curl(RequestFactory().get("/"), call.body(sheet))
    assert escape(shown) in page
    address, body = said_by_curl(shown)
    assert address == "http://testserver/api/jobs"
    create(walker, name='it\'s "quoted"', start="false")
    api: APIClient = client_of(ana)
    answer = api.post("/api/jobs", body, format="json")
    assert answer.status_code == 201, answer.json()
    by_hand, by_call = Job.objects.order_by("created_at")
    for field in ("name", "project_id", "status", "metadata", "max_steps"):
        assert getattr(by_hand, field) == getattr(by_call, field), field
    assert by_hand.status == Status.PENDING
    for field in (
        "base_model_id", "dataset_id", "recipe_id", "recipe_version", "columns", "adapters",
        "train", "lora", "resources", "eval", "export",
    ):  # fmt: skip
        assert getattr(by_hand.experiment, field) == getattr(by_call.experiment, field), field
    assert by_hand.experiment.lora["target_modules"] == ["q_proj", "v_proj"]


def test_a_reload_or_a_double_click_makes_one_job(walker: Walker, answers: Answers) -> None:
    walker.walk_to("review", answers)
    first, second = create(walker, name="once"), create(walker, name="once")
    job = Job.objects.get()
    assert first["Location"] == second["Location"] == f"/jobs/{job.pk}"
    assert walker.client.get(walker.at("review"))["Location"] == f"/jobs/{job.pk}"
    assert walker.client.get(f"/jobs/new/{walker.draft_id}")["Location"] == f"/jobs/{job.pk}"


def test_two_at_the_same_moment_make_one_job(
    walker: Walker, answers: Answers, ana: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have seen a draft without a job; the second is rolled back with all that it wrote."""
    walker.walk_to("review", answers)
    slow, quick = walker.draft, walker.draft
    first = drafts.create(quick, ana)
    assert slow.job is None
    assert drafts.create(slow, ana) == first
    assert Job.objects.count() == 1
    assert Draft.objects.get().job == first


def test_errors_at_the_end_create_nothing(
    walker: Walker, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    walker.walk_to("review", answers)
    response = create(walker, name="x" * 201)
    assert response.status_code == 422
    assert "no more than 200 characters" in response.content.decode()
    Project.objects.update(max_gpus=0)
    make.make_worker(gpus=1)
    response = create(walker, name="too much")
    assert response["Location"] == walker.at("preflight")
    assert "may use 0 GPUs" in walker.client.get(response["Location"]).content.decode()
    assert not Job.objects.exists()


def test_whoever_lost_the_right_meanwhile_creates_nothing(
    walker: Walker, answers: Answers, ana: User
) -> None:
    walker.walk_to("review", answers)
    Membership.objects.filter(user=ana).update(role=Membership.Role.VIEWER)
    assert create(walker, name="late").status_code == 403
    assert not Job.objects.exists()


def test_the_job_goes_into_the_project_that_is_chosen(
    walker: Walker, answers: Answers, ana: User
) -> None:
    other = Project.objects.create(name="Other")
    Membership.objects.create(project=other, user=ana, role=Membership.Role.MEMBER)
    foreign = Project.objects.create(name="Foreign")
    walker.walk_to("review", answers)
    page = walker.see("review")
    assert "Other" in page.words
    assert "Foreign" not in page.words
    assert create(walker, name="there", project_id=str(foreign.pk)).status_code == 403
    create(walker, name="there", project_id=str(other.pk))
    assert Job.objects.get().project == other


def test_the_settings_are_kept_as_a_recipe(walker: Walker, answers: Answers) -> None:
    walker.walk_to("review", {**answers, "settings": SETTINGS})
    address = f"/jobs/new/{walker.draft_id}/recipe"
    words = walker.client.post(address, {"recipe_name": "Dates, gently"}, follow=True)
    assert "Saved as the recipe Dates, gently." in words.content.decode()
    recipe = Recipe.objects.get(name="dates-gently")
    assert (recipe.method, recipe.project) == ("lora", Project.objects.default())
    assert recipe.defaults["train"]["learning_rate"] == 7e-4
    assert recipe.defaults["lora"]["r"] == 8
    again = walker.client.post(address, {"recipe_name": "Dates, gently"}, follow=True)
    assert "There is a recipe &#x27;dates-gently&#x27; already." in again.content.decode()
    nameless = walker.client.post(address, {"recipe_name": ""}, follow=True)
    assert "may not be blank" in nameless.content.decode()
    begun = Walker(walker.user)
    begun.begin("?recipe=dates-gently")
    begun.walk_to("settings", {**answers, "style": {"recipe_id": str(recipe.pk)}})
    values = {field.get("name"): field.get("value") for field in begun.see("settings").all("input")}
    assert (values["train.learning_rate"], values["lora.r"]) == ("0.0007", "8")


def test_what_preflight_says_at_the_last_moment_counts(
    walker: Walker, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    walker.walk_to("review", answers)

    def refuse(**_: Any) -> None:
        assert not Experiment.objects.exists()
        raise services.PreflightFailed(Sheet(walker.draft, walker.user).report)  # type: ignore[arg-type]

    monkeypatch.setattr(services, "create_job", refuse)
    assert create(walker, name="late")["Location"] == walker.at("preflight")
    assert not Job.objects.exists()
