"""The admin's pages open, show what they should, and let nobody write a status."""

from __future__ import annotations

import json
from typing import Any

import pytest
from auditlog.models import LogEntry
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.test import Client
from django_celery_results.models import TaskResult

from accounts.models import User
from tests.factories import (
    make_activity,
    make_artifact,
    make_event,
    make_job,
    make_model,
    make_recipe,
    make_worker,
)
from training.models import Recipe, Status

pytestmark = pytest.mark.django_db


@pytest.fixture
def curator(root: User) -> Client:
    client = Client()
    client.force_login(root)
    return client


def test_every_list_opens(curator: Client) -> None:
    job = make_job(status=Status.COMPLETED)
    make_event(job, "plan")
    make_artifact(job)
    make_worker()
    make_activity()
    TaskResult.objects.create(task_id="1", task_name="training.run_job", status="SUCCESS")
    for model in admin.site._registry:
        names = f"{model._meta.app_label}/{model._meta.model_name}"
        answer = curator.get(f"/admin/{names}/")
        assert answer.status_code == 200, names


def test_a_job_is_shown_with_its_history_and_cannot_be_changed(curator: Client) -> None:
    job = make_job(status=Status.RUNNING)
    make_event(job, "plan", message="100 steps to go.")
    page = curator.get(f"/admin/training/job/{job.pk}/change/")
    assert page.status_code == 200
    assert b"100 steps to go." in page.content
    refused = curator.post(f"/admin/training/job/{job.pk}/change/", {"status": "COMPLETED"})
    assert refused.status_code == 403
    assert curator.get("/admin/training/job/add/").status_code == 403


def test_task_results_are_shown(curator: Client) -> None:
    TaskResult.objects.create(task_id="abc", task_name="training.run_job", status="SUCCESS")
    page = curator.get("/admin/django_celery_results/taskresult/")
    assert b"training.run_job" in page.content


def test_the_job_list_costs_the_same_queries_however_long_it_is(
    curator: Client, django_assert_max_num_queries: Any
) -> None:
    for _ in range(25):
        make_job()
    with django_assert_max_num_queries(14):
        curator.get("/admin/training/job/")


@pytest.mark.usefixtures("sent")
def test_a_job_is_cancelled_by_name(curator: Client, root: User) -> None:
    waiting, done = make_job(status=Status.QUEUED), make_job(status=Status.COMPLETED)
    given = {"action": "cancel", "_selected_action": [str(waiting.pk), str(done.pk)]}
    asked = curator.post("/admin/training/job/", given)
    assert f"{done}</b>: It is COMPLETED already." in asked.content.decode()
    curator.post("/admin/training/job/", {**given, "confirmed": "Cancel job"})
    waiting.refresh_from_db()
    assert waiting.status == Status.CANCELLED
    entry = LogEntry.objects.filter(object_pk=str(waiting.pk)).latest("pk")
    assert (entry.actor, entry.additional_data["verb"]) == (root, "cancel")


@pytest.mark.usefixtures("sent")
def test_who_may_only_look_cancels_nothing(ana: User) -> None:
    ana.is_staff = True
    ana.save()
    ana.user_permissions.set(Permission.objects.filter(codename="view_job"))
    browser = Client()
    browser.force_login(ana)
    job = make_job(status=Status.QUEUED)
    path = f"/admin/training/job/{job.pk}/cancel/"
    assert browser.get(f"/admin/training/job/{job.pk}/change/").status_code == 200
    assert browser.post(path, {"confirmed": "Cancel job"}).status_code == 403
    job.refresh_from_db()
    assert job.status == Status.QUEUED


def test_a_job_leads_to_where_it_comes_from_and_to_what_it_has_made(curator: Client) -> None:
    model = make_model()
    job = make_job(
        status=Status.COMPLETED,
        result={"kind": "base_model", "id": str(model.pk), "name": "the result"},
    )
    page = curator.get(f"/admin/training/job/{job.pk}/change/").content.decode()
    experiment = job.experiment
    for address in (
        f"/admin/training/experiment/{experiment.pk}/change/",
        f"/admin/registry/basemodel/{experiment.base_model_id}/change/",
        f"/admin/registry/dataset/{experiment.dataset_id}/change/",
        f"/admin/registry/basemodel/{model.pk}/change/",
    ):
        assert address in page


def test_a_recipe_is_cloned(curator: Client) -> None:
    recipe = Recipe.objects.get(name="qlora")
    given = {"action": "clone", "_selected_action": [str(recipe.pk)], "confirmed": "Clone recipe"}
    curator.post("/admin/training/recipe/", given)
    copy = Recipe.objects.get(name="qlora-copy")
    assert (copy.defaults, copy.built_in) == (recipe.defaults, False)


def recipe_form(recipe: Recipe, **changes: Any) -> dict[str, Any]:
    return {
        "name": recipe.name,
        "display_name": recipe.display_name,
        "description": "",
        "method": recipe.method,
        "modality": recipe.modality,
        "defaults": json.dumps(recipe.defaults),
        "earlier-TOTAL_FORMS": "0",
        "earlier-INITIAL_FORMS": "0",
        **changes,
    }


def test_a_recipe_that_is_edited_keeps_its_earlier_version(curator: Client) -> None:
    recipe = make_recipe(defaults={"lora": {"r": 8}})
    path = f"/admin/training/recipe/{recipe.pk}/change/"
    saved = curator.post(path, recipe_form(recipe, defaults='{"lora": {"r": 4}}'))
    assert saved.status_code == 302, saved.context["adminform"].form.errors
    recipe.refresh_from_db()
    assert (recipe.version, recipe.defaults) == (2, {"lora": {"r": 4}})
    assert recipe.earlier.get().defaults == {"lora": {"r": 8}}


def test_a_setting_that_there_is_not_is_refused(curator: Client) -> None:
    recipe = make_recipe()
    path = f"/admin/training/recipe/{recipe.pk}/change/"
    refused = curator.post(path, recipe_form(recipe, defaults='{"lora": {"rank": 4}}'))
    assert "lora.rank: There is no such setting." in refused.content.decode()
    for nonsense in ("[]", "7", "null"):
        assert curator.post(path, recipe_form(recipe, defaults=nonsense)).status_code == 200


def test_recipes_that_ship_are_not_edited(curator: Client) -> None:
    recipe = Recipe.objects.get(name="full")
    path = f"/admin/training/recipe/{recipe.pk}"
    assert curator.get(f"{path}/change/").status_code == 200
    assert curator.post(f"{path}/change/", recipe_form(recipe)).status_code == 403
    assert curator.post(f"{path}/delete/", {"post": "yes"}).status_code == 403


def test_an_entry_of_the_audit_log_shows_before_and_after(curator: Client) -> None:
    recipe = make_recipe(description="old words")
    recipe.description = "<b>new words</b>"
    recipe.save()
    entry = LogEntry.objects.latest("pk")
    page = curator.get(f"/admin/auditlog/logentry/{entry.pk}/change/").content.decode()
    assert "old words" in page
    assert "&lt;b&gt;new words&lt;/b&gt;" in page
    assert curator.post(f"/admin/auditlog/logentry/{entry.pk}/change/").status_code == 403
    assert curator.post(f"/admin/auditlog/logentry/{entry.pk}/delete/").status_code == 403
