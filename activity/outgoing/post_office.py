"""Sending what is due. One process of one worker does it, with a few threads that wait for answers:
however many addresses hang, all others go on training.

What is sent is claimed before (its ``due_at`` moves on) and settled after. Whoever is killed in
between has settled nothing, so it is sent again: at least once, and receivers know a repetition by
its id.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from activity import reading
from activity.models import Notice, Outbox, WebhookDelivery
from activity.outgoing import letters, pushes, webhooks
from activity.outgoing.parcels import Parcel

# Deliveries; and as many notices beside them.
AT_ONCE = 8
# Of one address, so that one that hangs does not hold up the others.
AT_ONCE_PER_PLACE = 2
LOOKED_AT = 64
# Longer than any answer is waited for (`http.SECONDS`, and the name's resolution before it). For so
# long nobody goes on where one was killed.
CLAIMED_FOR = timedelta(seconds=25)


def work() -> int:
    """Send until nothing is due. How many were sent; 0 also where somebody else is at it."""
    sent = 0
    while _take():
        try:
            while parcels := _claim():
                _carry(parcels)
                sent += len(parcels)
                _stay()
        finally:
            Outbox.objects.update(busy_until=None)
        if not _is_anything_due():
            # Looked at after letting go: who came in between and saw us busy has left it to us.
            break
    return sent


def _take() -> bool:
    now = timezone.now()
    free = Outbox.objects.filter(Q(busy_until=None) | Q(busy_until__lt=now))
    return bool(free.update(busy_until=now + CLAIMED_FOR))


def _stay() -> None:
    Outbox.objects.update(busy_until=timezone.now() + CLAIMED_FOR)


def _is_anything_due() -> bool:
    now = timezone.now()
    return (
        WebhookDelivery.objects.due(now).exists() or Notice.objects.filter(due_at__lte=now).exists()
    )


@transaction.atomic
def _claim() -> list[Parcel]:
    """The next few, each counted as attempted and put off until the claim has run out."""
    now = timezone.now()
    deliveries = _spread(
        WebhookDelivery.objects.due(now).select_related("webhook"),
        lambda delivery: delivery.webhook_id,
    )
    notices = _spread(
        Notice.objects.filter(due_at__lte=now).select_related("activity", "user", "subscription"),
        lambda notice: notice.subscription_id,
    )
    for model, rows in ((WebhookDelivery, deliveries), (Notice, notices)):
        model.objects.filter(pk__in=[row.pk for row in rows]).update(
            attempts=F("attempts") + 1, due_at=now + CLAIMED_FOR
        )
        for row in rows:
            row.attempts += 1
    read = reading.read_pairs(notices)
    Notice.objects.filter(
        pk__in=[n.pk for n in notices if (n.activity_id, n.user_id) in read]
    ).delete()
    wanted = [notice for notice in notices if (notice.activity_id, notice.user_id) not in read]
    return [
        *map(webhooks.parcel, deliveries),
        *(letters.parcel(n) if n.subscription is None else pushes.parcel(n) for n in wanted),
    ]


def _spread(rows: Any, place_of: Callable[[Any], Any]) -> list[Any]:
    """The oldest, but of each place only a few."""
    chosen, of_place = [], Counter[Any]()
    for row in rows.order_by("due_at")[:LOOKED_AT]:
        of_place[place_of(row)] += 1
        if of_place[place_of(row)] <= AT_ONCE_PER_PLACE:
            chosen.append(row)
    return chosen[:AT_ONCE]


def _carry(parcels: list[Parcel]) -> None:
    with ThreadPoolExecutor(len(parcels), thread_name_prefix="post") as threads:
        answers = {threads.submit(parcel.send): parcel for parcel in parcels}
        for answer in as_completed(answers):
            answers[answer].settle(answer.result())
