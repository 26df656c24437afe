"""What the first page of the admin shows: how much there is, and how jobs ended of late."""

from __future__ import annotations

import json
from collections import Counter
from datetime import date, datetime, time, timedelta
from typing import Any

from django.db.models import Count
from django.db.models.functions import TruncDate
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from registry.models import Adapter, BaseModel, Dataset
from training.models import FINAL, Job, Recipe, Status

DAYS = 14
# How a job ended, in the admin's own colours.
ENDINGS = (
    (Status.COMPLETED, "Completed", "var(--color-green-500)"),
    (Status.FAILED, "Failed", "var(--color-red-500)"),
    (Status.CANCELLED, "Cancelled", "var(--color-base-400)"),
)

# For each day one bar of its endings on top of each other.
OPTIONS = {
    "maintainAspectRatio": False,
    "plugins": {"legend": {"position": "bottom"}},
    "scales": {
        "x": {"stacked": True, "grid": {"display": False}},
        "y": {"stacked": True, "ticks": {"precision": 0}, "grid": {"display": True}},
    },
}


def callback(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Adds ``cards`` and ``chart`` to the context of the admin's index."""
    return {**context, "cards": cards(request.user), "chart": chart(request.user)}


def cards(user: Any) -> list[dict[str, Any]]:
    """``{"title", "count", "link"}`` for what a curator looks after."""
    running = {"status__in": [Status.RUNNING, Status.PAUSING]}
    waiting = {"status__in": [Status.PENDING, Status.QUEUED, Status.PAUSED]}
    kinds: list[tuple[str, type[Any], dict[str, Any]]] = [
        ("Jobs running", Job, running),
        ("Jobs waiting", Job, waiting),
        ("Base models", BaseModel, {}),
        ("Datasets", Dataset, {}),
        ("Adapters", Adapter, {}),
        ("Recipes", Recipe, {}),
    ]
    return [
        {
            "title": title,
            "count": model.objects.visible_to(user).filter(**having).count(),
            "link": reverse(
                f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist",
                query={key: ",".join(values) for key, values in having.items()},
            ),
        }
        for title, model, having in kinds
    ]


def chart(user: Any) -> dict[str, str]:
    """What Chart.js draws of the jobs that ended on each of the last days, and it in words."""
    days = last_days()
    since = timezone.make_aware(datetime.combine(days[0], time.min))
    ended = (
        Job.objects.visible_to(user)
        .filter(status__in=FINAL, finished_at__gte=since)
        .annotate(day=TruncDate("finished_at"))
        .order_by()
        .values_list("day", "status")
        .annotate(jobs=Count("pk"))
    )
    jobs = Counter({(day, status): number for day, status, number in ended})
    series: list[dict[str, Any]] = [
        {"label": label, "data": [jobs[day, status] for day in days], "backgroundColor": color}
        for status, label, color in ENDINGS
    ]
    words = ", ".join(f"{sum(row['data'])} {row['label'].lower()}" for row in series)
    data = {"labels": [f"{day:%d %b}" for day in days], "datasets": series}
    return {
        "data": json.dumps(data),
        "options": json.dumps(OPTIONS),
        "words": f"Jobs of the last {DAYS} days: {words}.",
    }


def last_days() -> list[date]:
    today = timezone.localdate()
    return [today - timedelta(days=back) for back in reversed(range(DAYS))]
