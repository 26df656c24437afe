"""An experiment is deleted with all its jobs, or not at all: from its page, from the list, by the
API."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from accounts.models import User
from tests import factories as make
from tests.pages import Page
from training import run_plan
from training.models import Experiment, Job, Status

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("home")]


@pytest.fixture
def client(ana: User) -> Client:
    client = Client()
    client.force_login(ana)
    return client


def make_experiment(*statuses: str, **fields: Any) -> Experiment:
    experiment = make.make_experiment(**fields)
    for status in statuses:
        make.make_job(experiment=experiment, status=status, name=f"{experiment} {status}")
    return experiment


def tick(client: Client, *experiments: Experiment) -> str:
    ids = [str(experiment.pk) for experiment in experiments]
    said = {"do": "delete", "experiment": ids}
    return Page(client.post("/experiments/bulk", said, follow=True)).words


def test_several_go_with_their_jobs(
    client: Client, django_capture_on_commit_callbacks: Any
) -> None:
    experiments = [make_experiment(Status.FAILED, Status.COMPLETED), make_experiment()]
    job = experiments[0].jobs.first()
    assert job is not None
    folder = run_plan.run_dir(job)
    folder.mkdir(parents=True)
    with django_capture_on_commit_callbacks(execute=True):
        words = tick(client, *experiments)
    assert "deleted." in words
    assert not Experiment.objects.exists()
    assert not Job.objects.exists()
    assert not folder.exists()


def test_one_with_a_job_at_work_stays_whole_and_is_named(client: Client) -> None:
    busy = make_experiment(Status.FAILED, Status.RUNNING, name="busy")
    idle = make_experiment(Status.CANCELLED, name="idle")
    words = tick(client, busy, idle)
    assert "'idle' deleted." in words
    reason = "Job 'busy RUNNING' is RUNNING. Cancel it first."
    assert f"Experiment 'busy' stays as it is. {reason}" in words
    assert Experiment.objects.get() == busy
    assert Job.objects.count() == 2


def test_from_its_page(client: Client, viewer: User) -> None:
    experiment = make_experiment(Status.FAILED)
    address = f"/experiments/{experiment.pk}"
    page = Page(client.get(address))
    page.check_outline()
    assert page.forms_to("/experiments/bulk")
    other = Client()
    other.force_login(viewer)
    assert not Page(other.get(address)).forms_to("/experiments/bulk")


def test_by_the_api(client_of: Any, ana: User, viewer: User, stranger: User) -> None:
    experiment = make_experiment(Status.FAILED, Status.QUEUED)
    address = f"/api/experiments/{experiment.pk}"
    assert client_of(stranger).delete(address).status_code == 404
    assert client_of(viewer).delete(address).status_code == 403
    refused = client_of(ana).delete(address)
    assert refused.status_code == 409
    assert "is QUEUED. Cancel it first." in refused.json()["error"]
    assert Job.objects.count() == 2
    Job.objects.filter(status=Status.QUEUED).delete()
    assert client_of(ana).delete(address).status_code == 204
    assert client_of(ana).get(address).status_code == 404
