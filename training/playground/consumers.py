"""``/ws/generations/<id>?after=<cursor>``: what is written, as it comes."""

from __future__ import annotations

from typing import Any

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer

from activity.streaming import NOT_FOUND, SIGN_IN_FIRST, DatabaseStream
from training.models import Generation
from training.playground.generations import group_of


class GenerationConsumer(DatabaseStream, AsyncJsonWebsocketConsumer):
    """Messages: ``text``, what has come to an answer (``side``, ``offset``: the character that it
    begins with), and ``generation``, how the prompt stands, whenever that has changed. After each
    connection every answer is sent from its beginning once."""

    async def connect(self) -> None:
        self.user = self.scope["user"]
        self.generation_id = self.scope["url_route"]["kwargs"]["generation_id"]
        self.sent: dict[str, str] = {}
        self.last_state: dict[str, Any] | None = None
        if not self.user.is_authenticated:
            await self.refuse(SIGN_IN_FIRST)
        elif not await self.may_see():
            await self.refuse(NOT_FOUND)
        else:
            await self.begin([group_of(self.generation_id)])

    async def generation_changed(self, message: dict[str, Any]) -> None:
        await self.catch_up()

    @database_sync_to_async
    def may_see(self) -> bool:
        visible = Generation.objects.visible_to(self.user)
        return bool(visible.filter(pk=self.generation_id).exists())

    @database_sync_to_async
    def newest_cursor(self) -> int:
        return 0

    @database_sync_to_async
    def read_after(self, cursor: int) -> tuple[list[dict[str, Any]], int]:
        """Nothing where nothing has changed. A row that was deleted meanwhile has no news."""
        generation = Generation.objects.filter(pk=self.generation_id).first()
        if generation is None or (generation.cursor == cursor and self.last_state is not None):
            return [], cursor
        messages = [
            self._news(side, answer["text"], generation.cursor)
            for side, answer in generation.answers.items()
            if self.sent.get(side, "") != answer["text"]
        ]
        state = state_of(generation)
        if state != self.last_state:
            self.last_state = state
            messages.append(
                {"type": "generation", "cursor": generation.cursor, "generation": state}
            )
        return messages, generation.cursor

    def _news(self, side: str, text: str, cursor: int) -> dict[str, Any]:
        """What the client has is the beginning of it, unless it is answered anew."""
        known = self.sent.get(side, "")
        offset = len(known) if text.startswith(known) else 0
        self.sent[side] = text
        facts = {"side": side, "offset": offset, "text": text[offset:]}
        return {"type": "text", "cursor": cursor, **facts}


def state_of(generation: Generation) -> dict[str, Any]:
    """What changes while one watches, without the texts."""
    answers = {
        side: {name: value for name, value in answer.items() if name not in ("text", "tokens")}
        for side, answer in generation.answers.items()
    }
    return {
        "id": str(generation.pk),
        "status": generation.status,
        "waiting_reason": generation.waiting_reason,
        "cancel_requested": generation.cancel_requested_at is not None,
        "answers": answers,
        "failure": generation.failure,
    }
