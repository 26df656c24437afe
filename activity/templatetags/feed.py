"""How a line of the feed looks: where it leads, and its picture."""

from __future__ import annotations

from django import template
from django.urls import reverse

from activity.models import Activity

register = template.Library()

# Names of pages, not imports: this app knows no other app's models.
_PAGES = {"job": "job", "dataset": "dataset", "model": "model"}
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
    page says so."""
    page = _PAGES.get(activity.entity_type)
    return reverse(page, args=[activity.entity_id]) if page and activity.entity_id else ""


@register.filter
def icon(activity: Activity) -> str:
    return _ICONS.get(activity.event_type, "arrows-right-left")
