"""Which events a person wants to hear of and where, and what is on its way to them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q

from activity.models.feed import Activity, EventType


class Channel(models.TextChoices):
    BROWSER = "browser"  # an open page says it
    PUSH = "push"  # the browser says it, though no page is open
    EMAIL = "email", "E-mail"


# What is older is history: nobody is called away from their dinner by it.
NEWS_FOR = timedelta(hours=24)
# What a person hears of who has said nothing. Nobody is sent e-mail who has not asked for it.
_ENDINGS = frozenset(
    {
        EventType.JOB_COMPLETED,
        EventType.JOB_FAILED,
        EventType.TRANSFER_COMPLETED,
        EventType.TRANSFER_FAILED,
        EventType.DATASET_IMPORTED,
    }
)
DEFAULTS: dict[str, frozenset[str]] = {
    Channel.BROWSER: _ENDINGS,
    Channel.PUSH: _ENDINGS,
    Channel.EMAIL: frozenset(),
}


class ChoiceQuerySet(models.QuerySet["Choice"]):
    def wanted(self, user: Any) -> dict[str, set[str]]:
        """Channel to event types, for one person."""
        said = {(c.channel, c.event_type): c.wanted for c in self.filter(user=user)}
        return {
            channel: {
                event for event in EventType.values if said.get((channel, event), event in default)
            }
            for channel, default in DEFAULTS.items()
        }

    def who_wants(
        self, channel: str, user_ids: Iterable[Any], event_types: Iterable[str]
    ) -> set[tuple[Any, str]]:
        """Of these people and events, the pairs of who wants what. One question for all of them."""
        pairs = {(user, event) for user in user_ids for event in event_types}
        rows = self.filter(
            channel=channel,
            user__in={user for user, _ in pairs},
            event_type__in={event for _, event in pairs},
        )
        said = {(row.user_id, row.event_type): row.wanted for row in rows}
        return {pair for pair in pairs if said.get(pair, pair[1] in DEFAULTS[channel])}


class Choice(models.Model):
    """What a person has said about one event and one channel. Without a row: `DEFAULTS`."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="notification_choices"
    )
    event_type = models.CharField(max_length=40, choices=EventType)
    channel = models.CharField(max_length=10, choices=Channel)
    wanted = models.BooleanField()

    objects = ChoiceQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["user", "event_type", "channel"], name="one_choice_per_event_and_channel"
            ),
            models.CheckConstraint(
                condition=Q(channel__in=Channel.values), name="choice_channel_is_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user}: {self.event_type} by {self.channel}: {self.wanted}"


class PushSubscription(models.Model):
    """A browser that takes messages for a person (RFC 8030). Its keys encrypt them, so that the
    service that carries them cannot read them."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="push_subscriptions"
    )
    # A browser has one for this site. Whoever signs in there next takes it over.
    endpoint = models.URLField(max_length=1000, unique=True)
    p256dh = models.CharField(max_length=200)
    auth = models.CharField(max_length=100)
    browser = models.CharField(max_length=100, blank=True, help_text="Which one, for people.")
    created_at = models.DateTimeField(auto_now_add=True)
    used_at = models.DateTimeField(null=True, help_text="When a message was last taken.")

    class Meta:
        ordering = ["created_at"]

    def __str__(self) -> str:
        return f"{self.browser or 'A browser'} of {self.user}"


class Due(models.Model):
    """Something to be sent, now or at ``due_at``. A row that exists is a promise: whoever is killed
    while sending has not deleted it, and it is sent again."""

    attempts = models.PositiveSmallIntegerField(default=0)
    due_at = models.DateTimeField()

    class Meta:
        abstract = True


class Notice(Due):
    """An activity that is on its way to a person: to one of their browsers, or by e-mail. Deleted
    when it has arrived, or is not worth sending any more."""

    activity = models.ForeignKey(Activity, on_delete=models.CASCADE, related_name="+")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    # None: by e-mail.
    subscription = models.ForeignKey(
        PushSubscription, null=True, on_delete=models.CASCADE, related_name="+"
    )

    class Meta:
        indexes = [models.Index(fields=["due_at"], name="notice_is_due")]
        constraints = [
            models.UniqueConstraint(
                fields=["activity", "subscription"],
                condition=Q(subscription__isnull=False),
                name="one_notice_per_browser",
            ),
            models.UniqueConstraint(
                fields=["activity", "user"],
                condition=Q(subscription=None),
                name="one_notice_per_mailbox",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.activity} to {self.subscription or self.user}"
