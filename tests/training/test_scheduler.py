"""Who gets which device, why the others wait, and that nobody gets one twice."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError
from django.utils import timezone

from accounts.models import Project
from tests.factories import make_experiment, make_job, make_lease, make_worker
from training import scheduler
from training.models import Job, Lease, Partition, Status, Worker

pytestmark = pytest.mark.django_db


def queued(name: str = "job", *, gpus: int = 0, **fields: Any) -> Job:
    resources = {"gpus": gpus, **fields.pop("resources", {})}
    return make_job(
        status=Status.QUEUED,
        name=name,
        attempt=1,
        experiment=make_experiment(resources=resources),
        celery_task_id="11111111-1111-4111-8111-111111111111",
        **fields,
    )


def test_a_waiting_job_gets_a_free_slot_and_its_worker_is_told_after_commit(
    sent: list[dict[str, Any]], django_capture_on_commit_callbacks: Any
) -> None:
    worker, job = make_worker("here"), queued()
    with django_capture_on_commit_callbacks(execute=True):
        assert scheduler.dispatch() == 1
        assert sent == []
    assert sent == [
        {
            "name": "training.run_job",
            "args": [str(job.pk), 1],
            "queue": "worker.here",
            "task_id": job.celery_task_id,
        }
    ]
    assert Lease.objects.get().device == worker.devices.get()


def test_the_next_job_waits_and_is_told_for_whom(sent: list[dict[str, Any]]) -> None:
    make_worker()
    first = queued("first", queued_at=timezone.now() - timedelta(minutes=1))
    second = queued("second")
    scheduler.dispatch()
    first.refresh_from_db()
    second.refresh_from_db()
    assert first.waiting_reason == ""
    assert second.waiting_reason == "Waits for the CPU: 'first' runs there now."
    assert second.status == Status.QUEUED


def test_the_reason_does_not_tell_of_other_projects(sent: list[dict[str, Any]]) -> None:
    make_worker()
    secret = make_job(status=Status.RUNNING, name="secret plan")
    Job.objects.filter(pk=secret.pk).update(project=Project.objects.create(name="Elsewhere"))
    make_lease(secret, Worker.objects.get().devices.get())
    job = queued()
    scheduler.dispatch()
    job.refresh_from_db()
    assert job.waiting_reason == "Waits for the CPU: work of another project runs there now."


def test_a_higher_priority_goes_first(sent: list[dict[str, Any]]) -> None:
    make_worker()
    queued("older", queued_at=timezone.now() - timedelta(hours=1))
    urgent = queued("urgent", priority=5)
    scheduler.dispatch()
    assert Lease.objects.get().job == urgent


def test_without_a_worker_the_reason_says_so(sent: list[dict[str, Any]]) -> None:
    job = queued()
    assert scheduler.dispatch() == 0
    job.refresh_from_db()
    assert job.waiting_reason.startswith("No worker of this partition is running.")


def test_a_worker_that_has_fallen_silent_gets_nothing(sent: list[dict[str, Any]]) -> None:
    make_worker(seen_at=timezone.now() - timedelta(hours=1))
    queued()
    assert scheduler.dispatch() == 0


def test_several_gpus_come_from_one_worker(sent: list[dict[str, Any]]) -> None:
    make_worker("small", gpus=1)
    make_worker("other-small", gpus=1)
    job = queued(gpus=2)
    assert scheduler.dispatch() == 0
    job.refresh_from_db()
    assert "Waits for 2 GPUs" in job.waiting_reason
    big = make_worker("big", gpus=4)
    assert scheduler.dispatch() == 1
    assert {lease.device.worker for lease in Lease.objects.all()} == {big}
    assert Lease.objects.count() == 2


def test_a_small_job_does_not_take_the_big_machine(sent: list[dict[str, Any]]) -> None:
    make_worker("big", gpus=4)
    small = make_worker("small", gpus=1)
    queued(gpus=1)
    scheduler.dispatch()
    assert Lease.objects.get().device.worker == small


def test_the_kind_of_card_is_honoured(sent: list[dict[str, Any]]) -> None:
    make_worker(gpus=1)
    job = queued(gpus=1, resources={"gpu_type": "h200"})
    assert scheduler.dispatch() == 0
    job.refresh_from_db()
    assert job.waiting_reason == ("Waits for 1 GPU (h200): no worker that is running now has that.")


def test_a_job_goes_to_its_own_partition_only(sent: list[dict[str, Any]]) -> None:
    make_worker("here")
    elsewhere = make_worker("there", partition="lab")
    lab = Partition.objects.get(name="lab")
    queued(resources={"partition_id": str(lab.pk)})
    scheduler.dispatch()
    assert Lease.objects.get().device.worker == elsewhere


def test_a_device_cannot_be_leased_twice() -> None:
    device = make_worker().devices.get()
    make_lease(queued(), device)
    with pytest.raises(IntegrityError):
        make_lease(queued(), device)


def test_a_message_that_was_lost_is_sent_again(
    sent: list[dict[str, Any]], django_capture_on_commit_callbacks: Any
) -> None:
    make_worker("here")
    queued()
    scheduler.dispatch()
    assert scheduler.resend() == 0  # too early to worry
    Lease.objects.update(sent_at=timezone.now() - timedelta(minutes=1))
    sent.clear()
    with django_capture_on_commit_callbacks(execute=True):
        assert scheduler.resend() == 1
    assert [message["queue"] for message in sent] == ["worker.here"]
    assert scheduler.resend() == 0


def test_planning_costs_the_same_queries_for_many_workers(
    sent: list[dict[str, Any]], django_assert_num_queries: Any
) -> None:
    for _ in range(12):
        make_worker(gpus=8)
    queued(gpus=16)
    scheduler.dispatch()  # writes the reason, once
    with django_assert_num_queries(6):
        scheduler.dispatch()
