"""What open pages are told: new lines of the feed, in order, as the socket and `/activity/news`
say them."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from activity.api.serializers import ActivitySerializer
from activity.models import NEWS_FOR, Activity, Channel, Choice
from activity.templatetags.feed import href

ROWS_AT_ONCE = 200


def newest_cursor(user: Any) -> int:
    newest = Activity.objects.visible_to(user).values_list("cursor", flat=True).first()
    return newest or 0


def after(user: Any, cursor: int) -> tuple[list[dict[str, Any]], int]:
    """Messages about what came after a cursor, at most ROWS_AT_ONCE, and the cursor of the last.

    ``notify`` says whether the browser is to show it: the reader wants to hear of such events here,
    has not read it elsewhere, and it is no history.
    """
    rows = list(
        Activity.objects.visible_to(user)
        .with_read(user)
        .filter(cursor__gt=cursor)
        .order_by("cursor")[:ROWS_AT_ONCE]
    )
    if not rows:
        return [], cursor
    wanted = Choice.objects.wanted(user)[Channel.BROWSER]
    since = timezone.now() - NEWS_FOR
    messages = [
        {
            "type": "activity",
            "cursor": row.cursor,
            "activity": ActivitySerializer(row).data,
            "href": href(row),
            "notify": row.is_news
            and row.event_type in wanted
            and row.created_at > since
            and not row.read,
        }
        for row in rows
    ]
    return messages, rows[-1].cursor
