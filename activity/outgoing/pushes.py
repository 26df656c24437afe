"""Web Push: a notice to one browser, encrypted so that only that browser can read it."""

from __future__ import annotations

import json
import logging
from functools import partial
from typing import Any

from django.utils import timezone

from activity.models import NEWS_FOR, Activity, Notice, PushSubscription
from activity.outgoing import http, vapid
from activity.outgoing.parcels import Parcel, wait_after
from activity.templatetags.feed import href

log = logging.getLogger(__name__)

# The subscription is over: the browser has thrown it away, or the person has said no.
OVER = (404, 410)
# Beyond these, trying again would not help (a key that does not fit, a message too large).
WORTH_TRYING_AGAIN = (408, 429)
# The whole message must fit into 4096 bytes when it is encrypted.
MOST_CHARACTERS = 500


def message_of(activity: Activity) -> dict[str, Any]:
    """What the service worker shows; the open pages tell it the same."""
    return {
        "id": str(activity.pk),
        "title": activity.title,
        "body": activity.message[:MOST_CHARACTERS],
        "href": href(activity) or "/activity",
    }


def parcel(notice: Notice) -> Parcel:
    assert notice.subscription is not None
    body = json.dumps(message_of(notice.activity)).encode()
    return Parcel(send=partial(_send, notice.subscription, body), settle=partial(settle, notice))


def _send(subscription: PushSubscription, body: bytes) -> http.Answer:
    from pywebpush import WebPusher  # brings aiohttp and requests, which no other process needs

    keys = {"p256dh": subscription.p256dh, "auth": subscription.auth}
    encrypted = WebPusher({"endpoint": subscription.endpoint, "keys": keys}).encode(body)["body"]
    return http.post(
        subscription.endpoint,
        encrypted,
        {
            "content-type": "application/octet-stream",
            "content-encoding": "aes128gcm",
            "ttl": str(int(NEWS_FOR.total_seconds())),
            **vapid.headers(subscription.endpoint),
        },
    )


def settle(notice: Notice, answer: http.Answer) -> None:
    now = timezone.now()
    this = Notice.objects.filter(pk=notice.pk)
    assert notice.subscription_id is not None
    subscription = PushSubscription.objects.filter(pk=notice.subscription_id)
    wait = wait_after(notice.attempts, answer.retry_after_seconds)
    refused = answer.status is not None and 400 <= answer.status < 500
    if answer.is_success:
        this.delete()
        subscription.update(used_at=now)
    elif answer.status in OVER:
        subscription.delete()  # and all that was on its way to it
    elif (
        wait is None
        or (refused and answer.status not in WORTH_TRYING_AGAIN)
        or now + wait > notice.activity.created_at + NEWS_FOR
    ):
        log.warning("given up: push to %s: %s", notice.subscription, _trouble(answer))
        this.delete()
    else:
        this.update(due_at=now + wait)


def _trouble(answer: http.Answer) -> str:
    return answer.error or f"{answer.status} {answer.body[:200]}"
