"""The feed and who has read it; who wants to be told of what, and what is on its way to them."""

from activity.models.feed import (
    EVENT_WORDS,
    Activity,
    ActivityQuerySet,
    Cursor,
    EntityType,
    EventType,
    ReadMark,
    ReadUpTo,
    Status,
)
from activity.models.notifications import (
    DEFAULTS,
    NEWS_FOR,
    Channel,
    Choice,
    Notice,
    PushSubscription,
)
from activity.models.webhooks import Outbox, Webhook, WebhookDelivery

__all__ = [
    "DEFAULTS",
    "EVENT_WORDS",
    "NEWS_FOR",
    "Activity",
    "ActivityQuerySet",
    "Channel",
    "Choice",
    "Cursor",
    "EntityType",
    "EventType",
    "Notice",
    "Outbox",
    "PushSubscription",
    "ReadMark",
    "ReadUpTo",
    "Status",
    "Webhook",
    "WebhookDelivery",
]
