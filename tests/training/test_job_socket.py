"""``/ws/jobs/<id>``: metrics and events once, in order, and how the job stands."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator

from accounts.models import User
from activity.streaming import NOT_FOUND
from tests.factories import make_event, make_job, make_metrics
from training.models import Job, Status
from training.progress import take_over
from training.routing import websocket_urlpatterns

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("broker")]


def socket(user: Any, job_id: Any, query: str = "") -> WebsocketCommunicator:
    application = URLRouter(websocket_urlpatterns)
    communicator = WebsocketCommunicator(application, f"/ws/jobs/{job_id}{query}")
    communicator.scope["user"] = user
    return communicator


def lines(first: int, last: int) -> list[dict[str, Any]]:
    return [
        {"seq": n, "event": "step", "time": 1.0 * n, "step": n, "loss": 1 / n}
        for n in range(first, last + 1)
    ]


def test_a_batch_arrives_as_one_message_with_the_jobs_state_behind_it(ana: User) -> None:
    job = make_job(status=Status.RUNNING)

    async def story() -> None:
        client = socket(ana, job.pk)
        assert (await client.connect())[0]
        first = await client.receive_json_from(timeout=5)
        assert (first["type"], first["job"]["status"]) == ("job", "RUNNING")
        await sync_to_async(take_over)(job, 1, lines(1, 3), 0.5)
        batch = await client.receive_json_from(timeout=5)
        assert (batch["type"], batch["cursor"]) == ("metrics", 3)
        assert [row["step"] for row in batch["metrics"]] == [1, 2, 3]
        state = await client.receive_json_from(timeout=5)
        assert state["job"]["progress"]["step"] == 3
        await client.disconnect()

    async_to_sync(story)()


def test_what_was_missed_is_replayed_in_the_order_in_which_it_happened(ana: User) -> None:
    job = make_job(status=Status.RUNNING)
    make_metrics(job, [3.0, 2.0])
    make_event(job, "checkpoint", step=2, size_bytes=1)
    make_metrics(job, [1.0], first_step=3)

    async def story() -> None:
        client = socket(ana, job.pk, "?after=1")
        await client.connect()
        messages = [await client.receive_json_from(timeout=5) for _ in range(4)]
        assert [(m["type"], m.get("cursor")) for m in messages] == [
            ("metrics", 2),
            ("event", 3),
            ("metrics", 4),
            ("job", None),
        ]
        assert messages[1]["event"]["event"] == "checkpoint"
        await client.disconnect()

    async_to_sync(story)()


def test_more_than_fits_into_one_reading_still_comes_whole(
    ana: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.consumers.ROWS_AT_ONCE", 7)
    job = make_job(status=Status.RUNNING)
    make_metrics(job, [1.0] * 20)

    async def story() -> None:
        client = socket(ana, job.pk, "?after=0")
        await client.connect()
        steps: list[int] = []
        while len(steps) < 20:
            message = await client.receive_json_from(timeout=5)
            steps += [row["step"] for row in message["metrics"]]
        assert steps == list(range(1, 21))
        assert (await client.receive_json_from(timeout=5))["type"] == "job"
        await client.disconnect()

    async_to_sync(story)()


def test_a_stranger_is_told_that_there_is_no_such_job(stranger: User) -> None:
    job = make_job(status=Status.RUNNING)

    async def story() -> None:
        for job_id in (job.pk, uuid.uuid4()):
            client = socket(stranger, job_id)
            assert await client.connect() == (True, None)
            assert await client.receive_output(timeout=5) == {
                "type": "websocket.close",
                "code": NOT_FOUND,
            }

    async_to_sync(story)()


def test_waiting_and_its_reason_arrive_without_a_new_event(ana: User) -> None:
    job = make_job(status=Status.QUEUED)

    def give_reason() -> None:
        from django.db import transaction

        from training import scheduler

        with transaction.atomic():
            scheduler._wait(Job.objects.get(pk=job.pk), "Waits for the CPU.")

    async def story() -> None:
        client = socket(ana, job.pk)
        await client.connect()
        await client.receive_json_from(timeout=5)
        await sync_to_async(give_reason)()
        state = await client.receive_json_from(timeout=5)
        assert state["job"]["waiting_reason"] == "Waits for the CPU."
        await client.disconnect()

    async_to_sync(story)()
