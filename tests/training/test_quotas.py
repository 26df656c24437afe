"""What a project may use of the cards: who waits, who is refused, and what is counted."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from accounts.models import Project, User
from registry.models import BaseModel, Dataset
from tests.factories import make_dataset, make_experiment, make_job, make_lease, make_model
from tests.factories import make_worker as worker
from training import quotas, reconciler, scheduler
from training.models import Device, Job, Lease, Recipe, Status

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sent")]
ClientOf = Callable[[User], APIClient]


def limit(project: Project, **quota: int) -> None:
    Project.objects.filter(pk=project.pk).update(**quota)
    project.refresh_from_db()


def queued(gpus: int = 1, **fields: Any) -> Job:
    experiment = make_experiment(resources={"gpus": gpus}, project=fields.pop("project", None))
    return make_job(status=Status.QUEUED, attempt=1, experiment=experiment, **fields)


def reason(job: Job) -> str:
    job.refresh_from_db()
    return job.waiting_reason


def held_for(job: Job, hours: float) -> None:
    """As if its cards had been given to it so long ago."""
    Lease.objects.filter(job=job).update(created_at=timezone.now() - timedelta(hours=hours))


def test_no_more_cards_at_once_than_the_project_may_have(project: Project) -> None:
    worker(gpus=4)
    limit(project, max_gpus=2)
    first, second, third = queued(), queued(), queued()
    assert scheduler.dispatch() == 2
    assert (reason(first), reason(second)) == ("", "")
    assert reason(third) == "Waits: project Default uses 2 of its 2 GPUs."
    scheduler.release(first)
    Job.objects.filter(pk=first.pk).update(status=Status.PAUSED)
    assert scheduler.dispatch() == 1
    assert reason(third) == ""


def test_a_job_that_needs_more_than_is_left_is_told_so(project: Project) -> None:
    worker(gpus=4)
    limit(project, max_gpus=2)
    queued(priority=1)
    wide = queued(gpus=2)
    assert scheduler.dispatch() == 1
    assert reason(wide) == ("Waits: project Default uses 1 of its 2 GPUs, and this job needs 2.")


def test_another_project_and_the_cpu_are_not_held_up(project: Project) -> None:
    worker(gpus=4)
    worker()
    limit(project, max_gpus=0, max_gpu_hours=0)
    queued(gpus=0)
    queued(project=Project.objects.create(name="Elsewhere"))
    waits = queued()
    assert scheduler.dispatch() == 2
    assert reason(waits) == "Waits: project Default has used its 0 GPU-hours."


def test_hours_count_while_a_card_is_held_and_after_it_was_given_back(project: Project) -> None:
    worker(gpus=2)
    job = queued(gpus=2)
    scheduler.dispatch()
    held_for(job, 1.5)
    assert quotas.use_of(project) == {"gpus": 2, "gpu_hours": 3.0, "storage_bytes": 0}
    scheduler.release(job)
    job.refresh_from_db()
    assert job.gpu_seconds == pytest.approx(3 * 3600, abs=5)
    use = quotas.use_of(project)
    assert (use["gpus"], use["gpu_hours"]) == (0, pytest.approx(3.0, abs=0.01))
    scheduler.release(job)
    job.refresh_from_db()
    assert job.gpu_seconds == pytest.approx(3 * 3600, abs=5)


def test_several_goes_at_a_job_add_up(project: Project) -> None:
    worker(gpus=1)
    job = queued()
    for _ in range(2):
        scheduler.dispatch()
        held_for(job, 1)
        scheduler.release(job)
    assert quotas.use_of(project)["gpu_hours"] == pytest.approx(2.0, abs=0.01)


def test_the_cpu_costs_nothing(project: Project) -> None:
    worker()
    job = queued(gpus=0)
    scheduler.dispatch()
    held_for(job, 10)
    assert quotas.use_of(project) == {"gpus": 0, "gpu_hours": 0.0, "storage_bytes": 0}
    scheduler.release(job)
    assert quotas.use_of(project) == {"gpus": 0, "gpu_hours": 0.0, "storage_bytes": 0}


def test_a_card_of_a_worker_that_has_gone_is_counted_until_it_is_taken_back(
    project: Project,
) -> None:
    job = queued()
    silent = worker(gpus=1, seen_at=timezone.now() - timedelta(hours=1))
    make_lease(job, Device.objects.get(worker=silent))
    held_for(job, 1)
    reconciler.free_dead_leases()
    assert not Lease.objects.exists()
    assert quotas.use_of(project)["gpu_hours"] == pytest.approx(1.0, abs=0.01)


def test_whoever_has_used_up_the_hours_waits(project: Project) -> None:
    worker(gpus=1)
    limit(project, max_gpu_hours=2)
    make_job(status=Status.COMPLETED, gpu_seconds=2 * 3600)
    job = queued()
    assert scheduler.dispatch() == 0
    assert reason(job) == "Waits: project Default has used its 2 GPU-hours."
    limit(project, max_gpu_hours=3)
    assert scheduler.dispatch() == 1


@pytest.fixture
def body(project: Project) -> dict[str, Any]:
    worker(gpus=4)
    return {
        "name": "Wide",
        "base_model_id": str(make_model(hidden_size=64, num_layers=2, vocab_size=400).pk),
        "dataset_id": str(make_dataset().pk),
        "recipe_id": str(Recipe.objects.get(name="full").pk),
        "train": {"max_steps": 10, "global_batch_size": 8, "max_length": 64},
        "resources": {"gpus": 2},
    }


def errors(answer: Any) -> list[str]:
    assert answer.status_code == 400
    found: list[str] = answer.json()["details"]["preflight"]["errors"]
    return found


def test_a_job_wider_than_the_quota_is_refused(
    ana: User, client_of: ClientOf, project: Project, body: dict[str, Any]
) -> None:
    says = (
        "ERROR: Project Default may use 1 GPU at the same time, and this asks for 2. Set gpus to "
        "1, or ask for a larger quota."
    )
    limit(project, max_gpus=2)
    assert says not in errors(client_of(ana).post("/api/jobs", body, format="json"))
    limit(project, max_gpus=1)
    assert says in errors(client_of(ana).post("/api/jobs", body, format="json"))
    assert not Job.objects.exists()


def test_a_job_of_a_project_without_hours_left_is_refused(
    ana: User, client_of: ClientOf, project: Project, body: dict[str, Any]
) -> None:
    says = (
        "ERROR: Project Default has used its 5 GPU-hours. Set gpus to 0, for the CPU, or ask for a "
        "larger quota."
    )
    limit(project, max_gpu_hours=5)
    job = make_job(status=Status.COMPLETED, gpu_seconds=5 * 3600 - 60)
    assert says not in errors(client_of(ana).post("/api/jobs", body, format="json"))
    Job.objects.filter(pk=job.pk).update(gpu_seconds=5 * 3600)
    assert says in errors(client_of(ana).post("/api/jobs", body, format="json"))


def test_preflight_knows_the_quota_of_the_project_that_a_job_would_be_in(
    ana: User, client_of: ClientOf, project: Project, body: dict[str, Any]
) -> None:
    mine = Project.objects.create(name="Mine", max_gpus=0)
    theirs = Project.objects.create(name="Theirs", max_gpus=0)
    mine.memberships.create(user=ana, role="viewer")

    plan = {key: value for key, value in body.items() if key not in ("name", "start")}

    def told(**more: Any) -> Any:
        answer = client_of(ana).post("/api/experiments/preflight", {**plan, **more}, format="json")
        return answer.json()

    def quotas_in(report: dict[str, Any]) -> list[str]:
        return [one for one in report["errors"] if "ask for a larger quota" in one]

    assert quotas_in(told()) == []
    limit(project, max_gpus=1)
    says = "ERROR: Project {} may use {} at the same time, and this asks for 2. Set gpus to {}, or"
    assert quotas_in(told()) == [says.format("Default", "1 GPU", 1) + " ask for a larger quota."]
    assert quotas_in(told(project_id=str(mine.pk))) == [
        says.format("Mine", "0 GPUs", 0) + " ask for a larger quota."
    ]
    assert quotas_in(told(project_id=None)) == []
    assert "project_id" in told(project_id=str(theirs.pk))["details"]
    project.memberships.filter(user=ana).delete()
    for kind in (BaseModel, Dataset):
        kind.objects.update(project=mine)
    assert quotas_in(told()) == []  # not hers to know


def test_quota_and_usage_are_shown(ana: User, client_of: ClientOf, project: Project) -> None:
    limit(project, max_gpus=2)
    worker(gpus=1)
    queued()
    scheduler.dispatch()
    shown = client_of(ana).get(f"/api/projects/{project.pk}").json()
    assert shown["quota"] == {"gpus": 2, "gpu_hours": None, "storage_gb": None}
    assert shown["usage"]["gpus"] == 1


def test_only_staff_sets_a_quota(
    ana: User, root: User, client_of: ClientOf, project: Project
) -> None:
    def send(user: User, quota: dict[str, Any]) -> Any:
        address = f"/api/projects/{project.pk}"
        return client_of(user).patch(address, {"quota": quota}, format="json")

    assert send(root, {"gpus": 4, "gpu_hours": 100}).json()["quota"] == {
        "gpus": 4,
        "gpu_hours": 100,
        "storage_gb": None,
    }
    refused = send(ana, {"gpus": None})
    assert (refused.status_code, refused.json()) == (403, {"error": "Only staff sets quotas."})
    assert send(ana, {"gpus": 4}).status_code == 200
    assert send(root, {"gpus": None}).json()["quota"]["gpus"] is None
    refused = send(root, {"gpus": -1, "gpu_hours": "many"})
    assert set(refused.json()["details"]) == {"quota.gpus", "quota.gpu_hours"}


def test_a_plan_costs_four_queries_more_where_there_are_quotas(
    project: Project, django_assert_num_queries: Any
) -> None:
    elsewhere = Project.objects.create(name="Elsewhere")
    for each in (project, elsewhere):
        limit(each, max_gpus=0)
        for _ in range(3):
            queued(project=each)
    scheduler.dispatch()  # writes the reasons, once
    with django_assert_num_queries(9):
        scheduler.dispatch()
