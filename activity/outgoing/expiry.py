"""The delivery log is kept for a month."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from activity.models import WebhookDelivery

KEPT_FOR = timedelta(days=30)


def forget_old_deliveries() -> None:
    old = WebhookDelivery.objects.exclude(state=WebhookDelivery.State.PENDING)
    old.filter(created_at__lt=timezone.now() - KEPT_FOR).delete()
