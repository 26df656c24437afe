"""``/ws/generations/<id>``: each word once, and everything again after a reconnect."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator
from django.utils import timezone

from accounts.models import User
from activity.streaming import NOT_FOUND
from tests.factories import make_generation
from training.models import Generation, Serving, Status
from training.playground import generations
from training.routing import websocket_urlpatterns

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("broker")]


def socket(user: Any, generation_id: Any) -> WebsocketCommunicator:
    communicator = WebsocketCommunicator(
        URLRouter(websocket_urlpatterns), f"/ws/generations/{generation_id}?after=0"
    )
    communicator.scope["user"] = user
    return communicator


def said(text: str, state: str = "writing") -> dict[str, Any]:
    return {"base": {"state": state, "text": text, "tokens": len(text)}}


def test_words_come_once_and_again_after_a_reconnect(ana: User) -> None:
    serving = Serving.objects.create()
    made = make_generation(
        status=Status.RUNNING, serving=serving, started_at=timezone.now(), answers=said("Go")
    )

    async def story() -> None:
        client = socket(ana, made.pk)
        assert (await client.connect())[0]
        first = await client.receive_json_from(timeout=5)
        assert (first["type"], first["offset"], first["text"]) == ("text", 0, "Go")
        state = await client.receive_json_from(timeout=5)
        assert state["generation"]["status"] == "RUNNING"
        await sync_to_async(generations.write)(serving, made, said("Good day"))
        more = await client.receive_json_from(timeout=5)
        assert (more["offset"], more["text"]) == (2, "od day")
        other = socket(ana, made.pk)
        await other.connect()
        assert (await other.receive_json_from(timeout=5))["text"] == "Good day"
        await sync_to_async(generations.end)(
            serving, made, said("Good day.", "done"), Status.COMPLETED
        )
        assert (await client.receive_json_from(timeout=5))["text"] == "."
        ended = await client.receive_json_from(timeout=5)
        assert ended["generation"]["status"] == "COMPLETED"
        assert ended["generation"]["answers"] == {"base": {"state": "done"}}
        await client.disconnect()
        await other.disconnect()

    async_to_sync(story)()
    assert Generation.objects.get().cursor == 2


@pytest.mark.parametrize("whose", ["a stranger's", "nobody's"])
def test_what_one_may_not_see_is_not_there(stranger: User, ana: User, whose: str) -> None:
    made = make_generation()
    user, pk = (stranger, made.pk) if whose == "a stranger's" else (ana, uuid.uuid4())

    async def story() -> None:
        client = socket(user, pk)
        await client.connect()
        assert (await client.receive_output(timeout=5))["code"] == NOT_FOUND

    async_to_sync(story)()
