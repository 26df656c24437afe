"""``/ws/activity``: everything once, in order, also after a gap; strangers hear nothing."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from channels.testing import WebsocketCommunicator
from django.db import transaction

from accounts.models import Project, User
from activity.consumers import ActivityConsumer
from activity.record import record
from activity.streaming import BAD_CURSOR, SIGN_IN_FIRST

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("broker")]


@transaction.atomic
def note(title: str) -> int:
    project = Project.objects.default()
    return record(
        "job_created",
        entity_type="job",
        entity_id=uuid.uuid4(),
        title=title,
        project_id=project.pk,
    ).cursor


def socket(user: Any, query: str = "") -> WebsocketCommunicator:
    communicator = WebsocketCommunicator(ActivityConsumer.as_asgi(), f"/ws/activity{query}")
    communicator.scope["user"] = user
    return communicator


async def refusal(client: WebsocketCommunicator) -> int:
    """The code that a refused client is told. A browser learns none of a handshake that fails."""
    assert await client.connect() == (True, None)
    said: dict[str, Any] = await client.receive_output(timeout=5)
    assert said["type"] == "websocket.close"
    return int(said["code"])


def test_what_is_new_arrives(ana: User) -> None:
    note("before")

    async def story() -> None:
        client = socket(ana)
        assert (await client.connect())[0]
        await sync_to_async(note)("after")
        message = await client.receive_json_from(timeout=5)
        assert message["type"] == "activity"
        assert message["activity"]["title"] == "after"
        await client.disconnect()

    async_to_sync(story)()


def test_what_was_missed_is_replayed_from_the_cursor(ana: User) -> None:
    seen = note("seen")
    note("missed one")
    note("missed two")

    async def story() -> None:
        client = socket(ana, f"?after={seen}")
        await client.connect()
        titles = [(await client.receive_json_from(timeout=5))["activity"]["title"] for _ in "12"]
        assert titles == ["missed one", "missed two"]
        await client.disconnect()

    async_to_sync(story)()


def test_a_doorbell_that_was_lost_costs_nothing(ana: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("activity.streaming.LOOK_AGAIN_SECONDS", 0.1)
    monkeypatch.setattr("activity.live.push", lambda *args, **facts: None)

    async def story() -> None:
        client = socket(ana)
        await client.connect()
        await sync_to_async(note)("unrung")
        assert (await client.receive_json_from(timeout=5))["activity"]["title"] == "unrung"
        await client.disconnect()

    async_to_sync(story)()


def test_a_stranger_hears_nothing(stranger: User) -> None:
    async def story() -> None:
        client = socket(stranger, "?after=0")
        await client.connect()
        await sync_to_async(note)("not for you")
        assert await client.receive_nothing(timeout=0.5)
        await client.disconnect()

    async_to_sync(story)()


def test_nobody_in_particular_is_sent_away() -> None:
    from django.contrib.auth.models import AnonymousUser

    async def story() -> None:
        assert await refusal(socket(AnonymousUser())) == SIGN_IN_FIRST

    async_to_sync(story)()


@pytest.mark.parametrize("cursor", ["x", "-1", "9" * 30, "²"])
def test_a_cursor_that_is_no_number_is_refused(root: User, cursor: str) -> None:
    async def story() -> None:
        assert await refusal(socket(root, f"?after={cursor}")) == BAD_CURSOR

    async_to_sync(story)()
