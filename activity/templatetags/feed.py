"""How a line of the feed looks: where it leads, and its picture."""

from __future__ import annotations

from django import template
from django.urls import NoReverseMatch, reverse

from activity.models import Activity

register = template.Library()

_ICONS = {
    "job_created": "plus-circle",
    "job_started": "play-circle",
    "job_completed": "check-circle",
    "job_failed": "exclamation-circle",
    "job_cancelled": "no-symbol",
    "job_paused": "pause-circle",
    "dataset_imported": "circle-stack",
    "model_created": "cube",
}


@register.filter
def href(activity: Activity) -> str:
    """The page of its subject, or "" where it has none. The subject may be gone by now: then that
    page says so. Pages are named after what they show; this app knows no other app's models."""
    if activity.entity_id is None:
        return ""
    try:
        return reverse(activity.entity_type, args=[activity.entity_id])
    except NoReverseMatch:
        return ""


@register.filter
def icon(activity: Activity) -> str:
    return _ICONS.get(activity.event_type, "arrows-right-left")
