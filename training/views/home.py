"""The first page: what runs now, what happened last, and the machines."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.db.models import Case, Count, IntegerField, Prefetch, Value, When
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.questions import Question
from activity.models import Activity
from api.pages import render_page
from registry.models import BaseModel, Dataset
from training import curves
from training.models import FINAL, Device, Job, JobQuerySet, Lease, Partition, Status, Worker

JOBS_ON_HOME = 12
ACTIVITIES_ON_HOME = 12
SPARK = {"width": 120, "height": 28}

UNFINISHED = [status for status in Status if status not in FINAL]
# What is at work comes first.
_URGENCY = Case(
    *(
        When(status=status, then=Value(rank))
        for rank, status in enumerate(
            [Status.RUNNING, Status.PAUSING, Status.QUEUED, Status.PAUSED, Status.PENDING]
        )
    ),
    output_field=IntegerField(),
)


@login_required
@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """What runs now, what happened last, and the machines."""
    visible = Job.objects.visible_to(request.user)
    # Chosen by the index of open jobs alone: joined, SQLite may begin with the few recipes.
    chosen = visible.filter(status__in=UNFINISHED).order_by(_URGENCY, "-created_at")[:JOBS_ON_HOME]
    jobs = list(
        visible.with_names().filter(pk__in=chosen.values("pk")).order_by(_URGENCY, "-created_at")
    )
    question = Question(request.user, of=(Job, BaseModel, Dataset))
    said = Activity.objects.visible_to(request.user).few(0, ACTIVITIES_ON_HOME)
    context = {
        "jobs": _with_sparks(jobs),
        **question.answer("counts", lambda: _counts(request.user)),
        "activities": said.with_read(request.user),
        "partitions": _machines(visible),
    }
    return render_page(request, "home.html", context)


def _with_sparks(jobs: list[Job]) -> list[Job]:
    """Each job with ``spark``, the SVG points of its last losses."""
    losses = curves.recent_losses(jobs)
    for job in jobs:
        job.spark = curves.polyline(losses[job.pk], **SPARK)  # type: ignore[attr-defined]
    return jobs


def _counts(user: Any) -> dict[str, Any]:
    return {
        "counts": counts(Job.objects.visible_to(user)),
        "models": BaseModel.objects.visible_to(user).count(),
        "datasets": Dataset.objects.visible_to(user).count(),
    }


def counts(jobs: JobQuerySet) -> dict[str, int]:
    """How many are in each status, and ``total``."""
    by_status = dict(jobs.order_by().values_list("status").annotate(count=Count("*")))
    return {"total": sum(by_status.values()), **by_status}


def _machines(visible: JobQuerySet) -> list[Partition]:
    """Partitions with their workers and devices. A device names its job (``device.job``) only to
    those who may see that job."""
    devices = Device.objects.select_related("lease")
    workers = Worker.objects.prefetch_related(Prefetch("devices", queryset=devices))
    partitions = list(Partition.objects.prefetch_related(Prefetch("workers", queryset=workers)))
    # By their ids: joined, SQLite may begin with the many jobs.
    at_work = visible.filter(pk__in=Lease.objects.exclude(job=None).values("job")).order_by()
    leased = {job.pk: job for job in at_work.only("name", "status")}
    fresh = timezone.now() - timedelta(seconds=settings.TRAINYARD_LEASE_SECONDS)
    for partition in partitions:
        for worker in partition.workers.all():
            worker.alive = worker.seen_at > fresh  # type: ignore[attr-defined]
            for device in worker.devices.all():
                device.busy = hasattr(device, "lease")  # type: ignore[attr-defined]
                device.job = leased.get(device.lease.job_id) if device.busy else None  # type: ignore[attr-defined]
    return partitions
