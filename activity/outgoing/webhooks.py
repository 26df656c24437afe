"""Posting a delivery to its webhook, and what its answer means."""

from __future__ import annotations

import time
from functools import partial

from django.utils import timezone

from accounts import secrets
from activity.models import Webhook, WebhookDelivery
from activity.outgoing import http, signing
from activity.outgoing.parcels import Parcel, wait_after

GONE = 410


def parcel(delivery: WebhookDelivery) -> Parcel:
    return Parcel(send=partial(_send, delivery), settle=partial(settle, delivery))


def _send(delivery: WebhookDelivery) -> http.Answer:
    webhook, body = delivery.webhook, delivery.request_body.encode()
    try:
        secret = secrets.decrypt(webhook.encrypted_secret)
    except secrets.CannotDecrypt as error:
        return http.Answer(status=None, body="", duration_ms=0, error=str(error))
    headers = {
        "content-type": "application/json",
        "trainyard-event": delivery.event_type,
        **signing.headers(secret, str(delivery.pk), int(time.time()), body),
    }
    return http.post(webhook.url, body, headers)


def settle(delivery: WebhookDelivery, answer: http.Answer) -> None:
    """Delivered, to be tried again later, or given up."""
    now = timezone.now()
    wait = wait_after(delivery.attempts, answer.retry_after_seconds)
    if answer.is_success:
        state, due_at = WebhookDelivery.State.DELIVERED, now
    elif wait is None or answer.status == GONE:
        state, due_at = WebhookDelivery.State.FAILED, now
    else:
        state, due_at = WebhookDelivery.State.PENDING, now + wait
    WebhookDelivery.objects.filter(pk=delivery.pk).update(
        state=state,
        due_at=due_at,
        response_status=answer.status,
        response_body=answer.body,
        error=answer.error,
        duration_ms=answer.duration_ms,
        attempted_at=now,
    )
    if answer.status == GONE:  # it asks never to be called again
        Webhook.objects.filter(pk=delivery.webhook_id).update(enabled=False)
    elif state == WebhookDelivery.State.PENDING:
        # The others would fare no better, and everybody else's wait behind them.
        others = WebhookDelivery.objects.due(now).filter(webhook=delivery.webhook_id)
        others.update(due_at=due_at)
