"""Every list of the admin costs the same queries with one row as with ten."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, Permission
from django.test import Client
from django.utils import timezone
from django_celery_results.models import TaskResult

from accounts.models import Project, Token, User
from registry.hub import tokens
from tests.factories import (
    make_activity,
    make_adapter,
    make_code_review,
    make_experiment,
    make_job,
    make_model,
    make_probe,
    make_recipe,
    make_transfer,
    make_worker,
)
from training.models import Job, Status

pytestmark = pytest.mark.django_db

# Session, curator, count, rows; and one for each filter by another table and for the dates at
# the top.
QUERIES = {
    "accounts.Token": 4,
    "accounts.User": 5,
    "accounts.Project": 4,
    "activity.Activity": 7,
    "auditlog.LogEntry": 7,
    "auth.Group": 4,
    "django_celery_results.TaskResult": 9,
    "registry.Adapter": 8,
    "registry.BaseModel": 7,
    "registry.CodeReview": 4,
    "registry.Dataset": 7,
    "registry.HubToken": 4,
    "registry.BucketKey": 4,
    "registry.Transfer": 7,
    "training.Experiment": 7,
    "training.Job": 7,
    "training.Measurement": 11,  # and the picture
    "training.Partition": 4,
    "training.Probe": 7,
    "training.Recipe": 5,
    "training.Worker": 5,
}


def test_every_page_of_the_admin_is_pinned() -> None:
    assert {model._meta.label for model in admin.site._registry} == set(QUERIES)


@pytest.fixture
def curator(root: User) -> Client:
    client = Client()
    client.force_login(root)
    return client


def make_one_of_each(number: int, owner: User) -> None:
    """Rows of different users, projects, models, ...: what is not joined is asked for each."""
    project = Project.objects.create(name=f"project {number}")
    user = User.objects.create_user(f"user-{number}")
    experiment = make_experiment(project=project, recipe=make_recipe(project=project))
    make_job(status=Status.COMPLETED, experiment=experiment, owner=user)
    make_adapter(experiment.base_model)
    make_worker(partition=f"partition-{number}")
    make_probe(experiment=experiment)
    make_activity(project=project, user=user)
    make_transfer(project=project)
    make_code_review(approved_by=user)
    tokens.keep(project, "hf_a_token", user=user)
    Token.issue(user, name=f"token {number}", expiry=None)
    Group.objects.create(name=f"group {number}")
    TaskResult.objects.create(task_id=str(number), task_name="training.run_job", status="SUCCESS")


@pytest.fixture
def ten_of_each(root: User) -> None:
    for number in range(10):
        make_one_of_each(number, root)


@pytest.mark.usefixtures("ten_of_each")
@pytest.mark.parametrize("label", QUERIES)
def test_a_list_of_ten_costs_no_query_for_a_row(
    curator: Client, label: str, django_assert_num_queries: Any
) -> None:
    path = f"/admin/{label.replace('.', '/').lower()}/"
    assert curator.get(path).status_code == 200  # content types are remembered from here on
    with django_assert_num_queries(QUERIES[label]):
        curator.get(path)


@pytest.mark.usefixtures("ten_of_each")
def test_the_dashboard_costs_the_same_however_much_there_is(
    curator: Client, django_assert_num_queries: Any
) -> None:
    curator.get("/admin/")
    with django_assert_num_queries(10):  # session, curator, six counts, the chart, admin's history
        curator.get("/admin/")


def test_the_dashboard_counts_and_draws(curator: Client) -> None:
    for status in (Status.RUNNING, Status.COMPLETED, Status.COMPLETED, Status.FAILED):
        make_job(status=status)
    old = make_job(status=Status.FAILED)
    Job.objects.filter(pk=old.pk).update(finished_at=timezone.now() - timedelta(days=14))
    page = curator.get("/admin/")
    counts = {card["title"]: card["count"] for card in page.context["cards"]}
    assert (counts["Jobs running"], counts["Jobs waiting"], counts["Base models"]) == (1, 0, 5)
    assert b"Jobs of the last 14 days: 2 completed, 1 failed, 0 cancelled." in page.content
    drawn = json.loads(page.context["chart"]["data"])
    assert len(drawn["labels"]) == 14
    assert [series["data"][-1] for series in drawn["datasets"]] == [2, 1, 0]
    for card in page.context["cards"]:
        assert curator.get(card["link"]).status_code == 200, card["link"]


def test_a_curator_who_is_no_superuser_sees_own_projects_only(ana: User, project: Project) -> None:
    ana.is_staff = True
    ana.save()
    ana.user_permissions.set(Permission.objects.filter(content_type__app_label="registry"))
    browser = Client()
    browser.force_login(ana)
    make_model(name="ours")
    foreign = make_model(name="foreign", project=Project.objects.create(name="Elsewhere"))
    shown = browser.get("/admin/registry/basemodel/").content
    assert b"ours" in shown
    assert b"foreign" not in shown
    assert browser.get(f"/admin/registry/basemodel/{foreign.pk}/change/").status_code == 302
