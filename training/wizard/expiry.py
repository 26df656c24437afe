"""Drafts that nobody comes back to. Apart from the rest, so that the worker loads no forms."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from training.models import Draft

KEPT = timedelta(days=30)


def forget_old() -> int:
    """Remove the drafts that nobody has touched for KEPT; how many there were. Their jobs stay."""
    return Draft.objects.filter(updated_at__lt=timezone.now() - KEPT).delete()[0]
