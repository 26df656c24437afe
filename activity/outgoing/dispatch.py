"""From activities to what has to be sent: each is looked at once, in the order of the cursor.

`Outbox.dispatched` says how far this has come. It moves in the transaction that writes the rows to
be sent, so an activity is neither forgotten nor dispatched twice, whoever is killed.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from accounts.models import Membership, User
from activity.models import (
    NEWS_FOR,
    Activity,
    Channel,
    Choice,
    EventType,
    Notice,
    Outbox,
    PushSubscription,
    Webhook,
    WebhookDelivery,
)
from activity.outgoing import payloads

BATCH = 200


def dispatch() -> None:
    """Everything that has been committed by now."""
    if not Activity.objects.filter(cursor__gt=Outbox.objects.get().dispatched).exists():
        return  # most of the time; takes no lock
    while _batch() == BATCH:
        pass


@transaction.atomic
def _batch() -> int:
    outbox = Outbox.held()
    rows = Activity.objects.filter(cursor__gt=outbox.dispatched).select_related("project")
    activities = list(rows.order_by("cursor")[:BATCH])
    if activities:
        news = [activity for activity in activities if activity.is_news]
        WebhookDelivery.objects.bulk_create(_deliveries(news))
        fresh = [a for a in news if timezone.now() - a.created_at < NEWS_FOR]
        Notice.objects.bulk_create([*_pushes(fresh), *_letters(fresh)])
        Outbox.objects.update(dispatched=activities[-1].cursor)
    return len(activities)


def _deliveries(activities: Collection[Activity]) -> list[WebhookDelivery]:
    projects = {activity.project_id for activity in activities}
    webhooks = list(Webhook.objects.filter(enabled=True, project__in=projects - {None}))
    return [
        WebhookDelivery(
            webhook=webhook,
            activity=activity,
            event_type=activity.event_type,
            request_body=payloads.body_of(activity, webhook.kind),
            due_at=timezone.now(),
        )
        for activity in activities
        for webhook in webhooks
        if webhook.project_id == activity.project_id and activity.event_type in webhook.event_types
    ]


def _pushes(activities: Collection[Activity]) -> list[Notice]:
    """To each browser of everybody who may see an activity and wants to be told of it."""
    subscriptions = list(_of_readers(PushSubscription.objects.all(), "user__", activities))
    readers = _readers(activities, {one.user_id for one in subscriptions}, Channel.PUSH)
    return [
        Notice(activity=activity, user_id=one.user_id, subscription=one, due_at=timezone.now())
        for activity in activities
        for one in subscriptions
        if one.user_id in readers[activity.pk]
    ]


def _letters(activities: Collection[Activity]) -> list[Notice]:
    """Nobody has asked for e-mail who has not said so: only they are looked at."""
    if not settings.TRAINYARD_SENDS_EMAIL:
        return []
    asked = User.objects.exclude(email="").filter(
        notification_choices__channel=Channel.EMAIL, notification_choices__wanted=True
    )
    people = set(_of_readers(asked, "", activities).values_list("pk", flat=True))
    readers = _readers(activities, people, Channel.EMAIL)
    return [
        Notice(activity=activity, user_id=user_id, due_at=timezone.now())
        for activity in activities
        for user_id in people & readers[activity.pk]
    ]


def _of_readers(rows: Any, path: str, activities: Collection[Activity]) -> Any:
    """Rows of people who may see at least one of these."""
    if any(activity.project_id is None for activity in activities):
        visible = Q()
    else:
        projects = {activity.project_id for activity in activities}
        visible = Q(**{f"{path}is_superuser": True}) | Q(
            **{f"{path}memberships__project__in": projects}
        )
    return rows.filter(visible, **{f"{path}is_active": True}).distinct()


def _readers(
    activities: Collection[Activity], people: Collection[Any], channel: str
) -> dict[Any, set[Any]]:
    """By activity: who of these people may see it and wants to hear of it by this channel."""
    if not people:
        return {activity.pk: set() for activity in activities}
    superusers = set(
        User.objects.filter(pk__in=people, is_superuser=True).values_list("pk", flat=True)
    )
    members = set(
        Membership.objects.filter(
            user__in=people, project__in={a.project_id for a in activities} - {None}
        ).values_list("user", "project")
    )
    events = {activity.event_type for activity in activities} & set(EventType.values)
    wants = Choice.objects.who_wants(channel, people, events)
    return {
        activity.pk: {
            user
            for user in people
            if (user, activity.event_type) in wants
            and (
                user in superusers
                or activity.project_id is None
                or (user, activity.project_id) in members
            )
        }
        for activity in activities
    }
