"""What is posted: the activity as the API gives it, or a message as Slack or Discord takes it."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from django.conf import settings
from django.urls import reverse
from django.utils import timezone

from activity.api.serializers import ActivitySerializer
from activity.models import Activity, Status, Webhook
from activity.templatetags.feed import href

TEST = "test"
_COLOURS = {
    Status.INFO: 0x1D5FB4,
    Status.SUCCESS: 0x1A6D3C,
    Status.WARNING: 0x8A5300,
    Status.ERROR: 0xB3261E,
}
# Limits of Slack's section block and of Discord's embed.
_MOST_SLACK = 2900
_MOST_DISCORD_TITLE, _MOST_DISCORD = 256, 4000


def body_of(activity: Activity, kind: str) -> str:
    """JSON, as it will be posted to an address of this kind."""
    return json.dumps(_SHAPES[Webhook.Kind(kind)](activity), ensure_ascii=False)


def test_of(webhook: Webhook) -> Activity:
    """What a test tells of: a line that is in no feed."""
    return Activity(
        cursor=0,
        event_type=TEST,
        entity_type="",
        title=f"A test of {webhook.name}",
        message="If you can read this, Trainyard can reach you.",
        status=Status.INFO,
        project=webhook.project,
        created_at=timezone.now(),
    )


def link_of(activity: Activity) -> str:
    """For whoever is not on our pages: with our address in front."""
    return f"{settings.TRAINYARD_URL}{href(activity) or reverse('activity')}"


def address_of(page: str) -> str:
    """Of a page of ours, with our address in front."""
    return f"{settings.TRAINYARD_URL}{reverse(page)}"


def _generic(activity: Activity) -> dict[str, Any]:
    shown = dict(ActivitySerializer(activity).data)
    shown.pop("read")  # it is a reader's, and this goes to nobody in particular
    return {
        "type": activity.event_type,
        "timestamp": _iso(activity.created_at),
        "data": {**shown, "url": link_of(activity)},
    }


def _slack(activity: Activity) -> dict[str, Any]:
    title, message = _for_slack(activity.title), _for_slack(activity.message)
    text = f"*<{link_of(activity)}|{title}>*\n{message}"[:_MOST_SLACK]
    return {
        "text": f"{title}: {message}"[:_MOST_SLACK],  # for notifications and screen readers
        "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": text}}],
    }


def _for_slack(text: str) -> str:
    """The three characters that mean something to Slack; "|" would end the link's address."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return escaped.replace("|", "¦")


def _discord(activity: Activity) -> dict[str, Any]:
    return {
        "embeds": [
            {
                "title": activity.title[:_MOST_DISCORD_TITLE],
                "url": link_of(activity),
                "description": activity.message[:_MOST_DISCORD],
                "color": _COLOURS[Status(activity.status)],
                "timestamp": _iso(activity.created_at),
            }
        ],
        # Nobody is woken up by a job that is named @everyone.
        "allowed_mentions": {"parse": []},
    }


def _iso(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


_SHAPES = {
    Webhook.Kind.GENERIC: _generic,
    Webhook.Kind.SLACK: _slack,
    Webhook.Kind.DISCORD: _discord,
}
