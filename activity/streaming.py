"""A WebSocket that streams rows of the database in the order of their cursor.

The channel layer only rings; what is sent is read from the database after the cursor of what was
sent last. So every row arrives once, in order, whatever the channel layer loses or doubles.
"""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import parse_qs

# Close codes of our own (4000 to 4999 are the application's, RFC 6455 §7.4.2).
SIGN_IN_FIRST = 4401
NOT_FOUND = 4404
BAD_CURSOR = 4400

# A lost doorbell is made good after this long without one.
LOOK_AGAIN_SECONDS = 5.0


class DatabaseStream:
    """Mix in beside an AsyncJsonWebsocketConsumer. The consumer gives ``newest_cursor`` and
    ``read_after(cursor) -> (messages, new cursor)``, calls ``begin`` in ``connect`` and
    ``catch_up`` when the doorbell rings."""

    channel_layer: Any
    channel_name: str
    scope: Any
    accept: Any
    close: Any
    send_json: Any
    newest_cursor: Any
    read_after: Any

    async def refuse(self, code: int) -> None:
        """Accepted first: of a handshake that fails, a browser does not learn the reason."""
        await self.accept()
        await self.close(code)

    async def begin(self, groups: list[str]) -> None:
        """Join, accept, send what came after ``?after=`` (without it: only what is to come)."""
        after = parse_qs(self.scope["query_string"].decode()).get("after", [""])[0]
        if after and not (after.isascii() and after.isdigit() and len(after) < 19):
            await self.refuse(BAD_CURSOR)
            return
        self._groups = groups
        self._reading = asyncio.Lock()
        for group in groups:
            await self.channel_layer.group_add(group, self.channel_name)
        self.cursor = int(after) if after else await self.newest_cursor()
        await self.accept()
        await self.catch_up()
        self._watch = asyncio.create_task(self._look_again())

    async def catch_up(self) -> None:
        async with self._reading:
            while True:
                messages, cursor = await self.read_after(self.cursor)
                for message in messages:
                    await self.send_json(message)
                if cursor == self.cursor:
                    return
                self.cursor = cursor

    async def _look_again(self) -> None:
        while True:
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
            await self.catch_up()

    async def disconnect(self, code: int) -> None:
        if watch := getattr(self, "_watch", None):
            watch.cancel()
        for group in getattr(self, "_groups", []):
            await self.channel_layer.group_discard(group, self.channel_name)
