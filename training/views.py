"""Home, the job list, a job's page, and the buttons on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import BadRequest, PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Case, Count, IntegerField, Prefetch, Q, Value, When
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from accounts.scoping import may_change
from activity.models import Activity
from api.pages import render_page, wants_part
from registry.models import Adapter, BaseModel, Dataset
from training import curves, run_log, services
from training.lifecycle import IllegalMove, sources_of
from training.models import FINAL, Device, Draft, Job, JobQuerySet, Partition, Status, Worker

ROWS_A_PAGE = 25
DRAFTS_SHOWN = 20
JOBS_ON_HOME = 12
ACTIVITIES_ON_HOME = 12
SPARK = {"width": 120, "height": 28}
CHART = {"width": 720, "height": 240}

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


@dataclass(frozen=True)
class Action:
    """A button on a job's page."""

    label: str
    icon: str
    sources: frozenset[str]
    do: Callable[..., Any]
    said: str
    tone: str = ""
    confirm: str = ""


ACTIONS = {
    "start": Action(
        "Start", "play", frozenset({Status.PENDING}), services.start, "Started: it is in the queue."
    ),
    "pause": Action(
        "Pause",
        "pause",
        frozenset({Status.QUEUED, Status.RUNNING}),
        services.pause,
        "Asked to pause. It writes a checkpoint first.",
    ),
    "resume": Action(
        "Resume",
        "play",
        frozenset({Status.PAUSED}),
        services.resume,
        "Back in the queue. It goes on from its last checkpoint.",
    ),
    "retry": Action(
        "Retry",
        "arrow-path",
        frozenset({Status.FAILED, Status.CANCELLED}),
        services.retry,
        "Back in the queue. It goes on from its last checkpoint, if it has one.",
    ),
    "cancel": Action(
        "Cancel",
        "x-mark",
        frozenset(sources_of(Status.CANCELLED)),
        services.cancel,
        "Asked to stop.",
        tone="bad",
        confirm="Cancel this job? Its last checkpoint stays, so it can be retried from there.",
    ),
}


@login_required
@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """What runs now, what happened last, and the machines."""
    visible = Job.objects.visible_to(request.user)
    jobs = list(
        visible.with_everything()
        .exclude(status__in=FINAL)
        .order_by(_URGENCY, "-created_at")[:JOBS_ON_HOME]
    )
    activities = Activity.objects.visible_to(request.user).with_read(request.user)
    context = {
        "jobs": _with_sparks(jobs),
        "counts": _counts(visible),
        "activities": activities[:ACTIVITIES_ON_HOME],
        "partitions": _machines(visible),
        "models": BaseModel.objects.visible_to(request.user).count(),
        "datasets": Dataset.objects.visible_to(request.user).count(),
    }
    return render_page(request, "home.html", context)


def _with_sparks(jobs: list[Job]) -> list[Job]:
    """Each job with ``spark``, the SVG points of its last losses."""
    losses = curves.recent_losses(jobs)
    for job in jobs:
        job.spark = curves.polyline(losses[job.pk], **SPARK)  # type: ignore[attr-defined]
    return jobs


def _counts(jobs: JobQuerySet) -> dict[str, int]:
    """How many are in each status, and ``total``."""
    counts: dict[str, int] = dict(jobs.order_by().values_list("status").annotate(count=Count("pk")))
    return {"total": sum(counts.values()), **counts}


def _machines(visible: JobQuerySet) -> list[Partition]:
    """Partitions with their workers and devices. A device names its job (``device.job``) only to
    those who may see that job."""
    devices = Device.objects.select_related("lease")
    workers = Worker.objects.prefetch_related(Prefetch("devices", queryset=devices))
    partitions = list(Partition.objects.prefetch_related(Prefetch("workers", queryset=workers)))
    leased = {job.pk: job for job in visible.filter(leases__isnull=False).only("name", "status")}
    fresh = timezone.now() - timedelta(seconds=settings.TRAINYARD_LEASE_SECONDS)
    for partition in partitions:
        for worker in partition.workers.all():
            worker.alive = worker.seen_at > fresh  # type: ignore[attr-defined]
            for device in worker.devices.all():
                device.busy = hasattr(device, "lease")  # type: ignore[attr-defined]
                device.job = leased.get(device.lease.job_id) if device.busy else None  # type: ignore[attr-defined]
    return partitions


class JobFilter(forms.Form):
    status = forms.ChoiceField(choices=[("", "All"), *Status.choices], required=False)
    q = forms.CharField(max_length=200, required=False)
    model = forms.UUIDField(required=False)
    dataset = forms.UUIDField(required=False)

    def of(self, jobs: JobQuerySet) -> JobQuerySet:
        """Without the status, which the tabs count. Raises BadRequest."""
        if not self.is_valid():
            raise BadRequest(self.errors.as_text())
        asked = self.cleaned_data
        if words := asked["q"]:
            jobs = jobs.filter(
                Q(name__icontains=words)
                | Q(experiment__base_model__name__icontains=words)
                | Q(experiment__dataset__name__icontains=words)
            )
        if asked["model"]:
            jobs = jobs.filter(experiment__base_model=asked["model"])
        if asked["dataset"]:
            jobs = jobs.filter(experiment__dataset=asked["dataset"])
        return jobs


@login_required
@require_safe
def job_list(request: HttpRequest) -> HttpResponse:
    form = JobFilter(request.GET)
    found = form.of(Job.objects.visible_to(request.user))
    counts = _counts(found)
    status = form.cleaned_data["status"]
    rows = found.filter(status=status) if status else found
    page = Paginator(rows.with_everything(), ROWS_A_PAGE).get_page(request.GET.get("page"))
    context = {
        "form": form,
        "page": page,
        "status": status,
        "drafts": Draft.objects.of(request.user).unfinished()[:DRAFTS_SHOWN],
        "total": counts["total"],
        "tabs": [
            (s.value, s.label, counts.get(s, 0)) for s in Status if s in counts or s == status
        ],
    }
    return render_page(request, "jobs/job_list.html", context)


@login_required
@require_safe
def job_detail(request: HttpRequest, pk: UUID) -> HttpResponse:
    return _job_page(request, _job_or_404(request, pk))


@login_required
@require_POST
def act(request: HttpRequest, pk: UUID, verb: str) -> HttpResponse:
    """One of the buttons. An illegal move leaves everything as it is and says so (409)."""
    job = _job_or_404(request, pk)
    if not may_change(request.user, job.project_id):
        raise PermissionDenied
    action = ACTIONS[verb]
    try:
        action.do(job, actor=request.user)
    except IllegalMove as error:
        messages.error(request, str(error))
        return _job_page(request, _job_or_404(request, pk), status=409)
    messages.success(request, action.said)
    return redirect("job", pk)


def _job_or_404(request: HttpRequest, pk: UUID) -> Job:
    visible = Job.objects.visible_to(request.user).with_everything().select_related("created_by")
    job: Job = get_object_or_404(visible, pk=pk)
    return job


def _job_page(request: HttpRequest, job: Job, status: int = 200) -> HttpResponse:
    """The page as of ``job.cursor``: its script asks the socket for everything after that."""
    context: dict[str, Any] = {
        "job": job,
        "stopping": is_stopping(job),
        "actions": _actions(request, job),
        "events": list(job.events.order_by("-cursor")[:100]),
        "checkpoints": list(job.checkpoints.order_by("-step")),
        "artifacts": list(job.artifacts.all()),
        "result": _result(job),
        "evaluation": _evaluation(job),
        "configuration": _configuration(job),
    }
    if not wants_part(request):
        points = curves.of_job(job)
        context |= {
            "points": points,
            "evaluations": curves.evaluations(job),
            "line": curves.polyline([point["loss"] for point in points], **CHART),
            "chart": CHART,
            "tail": run_log.tail(job),
        }
    return render_page(request, "jobs/job_detail.html", context, status=status)


def _actions(request: HttpRequest, job: Job) -> list[tuple[str, Action]]:
    if not may_change(request.user, job.project_id):
        return []
    return [
        (verb, action)
        for verb, action in ACTIONS.items()
        if job.status in action.sources and not (verb in ("cancel", "pause") and is_stopping(job))
    ]


def is_stopping(job: Job) -> bool:
    """It was asked to stop and its trainer still writes its checkpoint."""
    return job.cancel_requested_at is not None and not job.is_final


def _result(job: Job) -> BaseModel | Adapter | None:
    """What the job has made, unless somebody has deleted it since."""
    if job.result is None:
        return None
    made: type[BaseModel] | type[Adapter] = (
        Adapter if job.result["kind"] == "adapter" else BaseModel
    )
    return made.objects.filter(pk=job.result["id"]).first()


def _evaluation(job: Job) -> list[dict[str, Any]]:
    """A row per number that was measured: name, before, after, and their standard errors."""
    before, after = job.evaluation.get("before") or {}, job.evaluation.get("after") or {}
    names = [name for name in sorted({**before, **after}) if not name.endswith("_stderr")]
    return [
        {
            "name": name,
            "before": before.get(name),
            "after": after.get(name),
            "before_error": before.get(f"{name}_stderr"),
            "after_error": after.get(f"{name}_stderr"),
        }
        for name in names
        if name != "step" and isinstance(before.get(name, after.get(name)), int | float)
    ]


def _configuration(job: Job) -> list[tuple[str, dict[str, Any]]]:
    experiment = job.experiment
    sections = {
        "Columns": experiment.columns,
        "Training": experiment.train,
        "LoRA": experiment.lora,
        "Resources": experiment.resources,
        "Evaluation": experiment.eval,
    }
    # PostgreSQL does not keep the order in which they were written.
    return [(title, dict(sorted(values.items()))) for title, values in sections.items() if values]
