"""``/ws/activity?after=<cursor>``: everything this person may see from there on, in order; and that
they have read something, on this page or another one."""

from __future__ import annotations

from typing import Any

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer

from accounts.models import Project
from activity import news, reading
from activity.record import EVERYTHING, SHARED, group_of
from activity.streaming import SIGN_IN_FIRST, DatabaseStream


class ActivityConsumer(DatabaseStream, AsyncJsonWebsocketConsumer):
    """A doorbell from the channel layer, or a few quiet seconds, make it read the database."""

    async def connect(self) -> None:
        self.user = self.scope["user"]
        if not self.user.is_authenticated:
            await self.refuse(SIGN_IN_FIRST)
            return
        self.groups_joined = await self.groups_to_join()
        await self.begin(self.groups_joined)

    async def groups_to_join(self) -> list[str]:
        own = reading.group_of(self.user.pk)
        if self.user.is_superuser:
            return [own, EVERYTHING]
        visible = Project.objects.visible_to(self.user).values_list("pk", flat=True)
        return [own, SHARED, *[group_of(pk) async for pk in visible]]

    async def activity_recorded(self, message: dict[str, Any]) -> None:
        await self.catch_up()

    async def activity_read(self, message: dict[str, Any]) -> None:
        await self.send_json({"type": "read"})

    @database_sync_to_async
    def newest_cursor(self) -> int:
        return news.newest_cursor(self.user)

    @database_sync_to_async
    def read_after(self, cursor: int) -> tuple[list[dict[str, Any]], int]:
        return news.after(self.user, cursor)
