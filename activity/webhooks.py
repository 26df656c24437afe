"""What owners do to their project's webhooks. What is sent, and when, is `activity.outgoing`'s."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.utils import timezone

from accounts import secrets
from activity import audit
from activity.live import send_on_commit
from activity.models import Webhook, WebhookDelivery
from activity.outgoing import payloads, signing
from activity.record import DELIVER


class TurnedOff(Exception):
    """Nothing is sent by a webhook that is turned off."""


@transaction.atomic
def create(*, user: Any, **fields: Any) -> Webhook:
    """With its ``secret``, which is shown now and never again."""
    webhook = Webhook(created_by=user, **fields)
    _give_secret(webhook)
    webhook.save(force_insert=True)
    return webhook


@transaction.atomic
def rotate_secret(webhook: Webhook, *, user: Any) -> Webhook:
    """The old one counts no more, also for what is on its way."""
    _give_secret(webhook)
    Webhook.objects.filter(pk=webhook.pk).update(encrypted_secret=webhook.encrypted_secret)
    audit.note(webhook, "rotate_secret", actor=user, changes={"secret": [audit.hidden(""), "new"]})
    return webhook


def _give_secret(webhook: Webhook) -> None:
    webhook.secret = signing.new_secret()
    webhook.encrypted_secret = secrets.encrypt(webhook.secret)


@transaction.atomic
def test(webhook: Webhook) -> WebhookDelivery:
    """Something to receive, at once. Raises TurnedOff."""
    _refuse_turned_off(webhook)
    body = payloads.body_of(payloads.test_of(webhook), webhook.kind)
    return _send(webhook, event_type=payloads.TEST, request_body=body)


@transaction.atomic
def redeliver(delivery: WebhookDelivery) -> WebhookDelivery:
    """The same once more, as a delivery of its own. Raises TurnedOff."""
    _refuse_turned_off(delivery.webhook)
    return _send(
        delivery.webhook,
        activity=delivery.activity,
        event_type=delivery.event_type,
        request_body=delivery.request_body,
    )


def _send(webhook: Webhook, **fields: Any) -> WebhookDelivery:
    delivery = WebhookDelivery.objects.create(webhook=webhook, due_at=timezone.now(), **fields)
    send_on_commit(DELIVER, ignore_result=True)
    return delivery


def _refuse_turned_off(webhook: Webhook) -> None:
    if not webhook.enabled:
        raise TurnedOff(f"'{webhook}' is turned off. Turn it on first.")
