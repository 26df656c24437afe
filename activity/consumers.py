"""``/ws/activity?after=<cursor>``: everything this person may see from there on, in order."""

from __future__ import annotations

from typing import Any

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer

from accounts.models import Project
from activity.api.serializers import ActivitySerializer
from activity.models import Activity
from activity.record import EVERYTHING, SHARED, group_of
from activity.streaming import SIGN_IN_FIRST, DatabaseStream

ROWS_AT_ONCE = 200


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
        if self.user.is_superuser:
            return [EVERYTHING]
        visible = Project.objects.visible_to(self.user).values_list("pk", flat=True)
        return [SHARED, *[group_of(pk) async for pk in visible]]

    async def activity_recorded(self, message: dict[str, Any]) -> None:
        await self.catch_up()

    @database_sync_to_async
    def newest_cursor(self) -> int:
        newest = Activity.objects.visible_to(self.user).values_list("cursor", flat=True).first()
        return newest or 0

    @database_sync_to_async
    def read_after(self, cursor: int) -> tuple[list[dict[str, Any]], int]:
        rows = list(
            Activity.objects.visible_to(self.user)
            .with_read(self.user)
            .filter(cursor__gt=cursor)
            .order_by("cursor")[:ROWS_AT_ONCE]
        )
        messages = [
            {"type": "activity", "cursor": row.cursor, "activity": ActivitySerializer(row).data}
            for row in rows
        ]
        return messages, rows[-1].cursor if rows else cursor
