"""One job: its page, and the buttons on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST, require_safe

from accounts.scoping import may_change
from api.pages import render_page, wants_part
from registry.models import Adapter, BaseModel
from training import again, api_call, checkpoints, curves, evaluations, run_log, services
from training.lifecycle import IllegalMove, sources_of
from training.models import FINAL, Checkpoint, Job, Status

CHART = {"width": 720, "height": 240}
EVENTS_SHOWN = 100
ROWS_SHOWN = 100


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
        confirm="Pause this job? It writes a checkpoint, and its devices are free for others.",
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
    "delete": Action(
        "Delete",
        "trash",
        frozenset({*FINAL, Status.PENDING}),
        services.delete,
        "Deleted.",
        tone="bad",
        confirm="Delete this job with its numbers, its log and its checkpoints? What it has made "
        "stays in the registry.",
    ),
}


@login_required
@require_safe
def job_detail(request: HttpRequest, pk: UUID) -> HttpResponse:
    return _job_page(request, _job_or_404(request, pk))


@login_required
@require_POST
def act(request: HttpRequest, pk: UUID, verb: str) -> HttpResponse:
    """One of the buttons. An illegal move leaves everything as it is and says so (409)."""
    job = _changeable_or_404(request, pk)
    action = ACTIONS[verb]
    try:
        action.do(job, actor=request.user)
    except (IllegalMove, services.StillOpen) as error:
        return _refused(request, pk, str(error))
    messages.success(request, action.said)
    return redirect("jobs") if verb == "delete" else redirect("job", pk)


@login_required
@require_POST
def fix(request: HttpRequest, pk: UUID) -> HttpResponse:
    """A failed job again, with one of the changes that keep it from failing again."""
    job = _changeable_or_404(request, pk)
    try:
        made = again.fix_and_retry(job, request.POST.get("title", ""), actor=request.user)
    except (checkpoints.CannotBeDone, services.PreflightFailed) as error:
        return _refused(request, pk, str(error))
    messages.success(request, f"Started again as '{made.name}': {request.POST['title']}.")
    return redirect("job", made.pk)


@login_required
@require_POST
def evaluate_checkpoint(request: HttpRequest, pk: UUID, step: int) -> HttpResponse:
    checkpoint = _checkpoint_or_404(request, pk, step)
    try:
        made = again.evaluate(checkpoint, actor=request.user)
    except (checkpoints.CannotBeDone, services.PreflightFailed) as error:
        return _refused(request, pk, str(error))
    messages.success(request, f"'{made.name}' measures it, and registers it as a result.")
    return redirect("job", made.pk)


@login_required
@require_POST
def delete_checkpoint(request: HttpRequest, pk: UUID, step: int) -> HttpResponse:
    checkpoint = _checkpoint_or_404(request, pk, step)
    try:
        checkpoints.delete(checkpoint, actor=request.user)
    except checkpoints.CannotBeDone as error:
        return _refused(request, pk, str(error))
    messages.success(request, f"The checkpoint of step {step:,} is deleted.")
    return redirect("job", pk)


def _job_or_404(request: HttpRequest, pk: UUID) -> Job:
    visible = Job.objects.visible_to(request.user).with_everything()
    job: Job = get_object_or_404(visible.select_related("created_by"), pk=pk)
    return job


def _changeable_or_404(request: HttpRequest, pk: UUID) -> Job:
    """Raises PermissionDenied."""
    job = _job_or_404(request, pk)
    if not may_change(request.user, job.project_id):
        raise PermissionDenied
    return job


def _checkpoint_or_404(request: HttpRequest, pk: UUID, step: int) -> Checkpoint:
    """Raises PermissionDenied."""
    job = _changeable_or_404(request, pk)
    checkpoint: Checkpoint = get_object_or_404(job.checkpoints, step=min(step, 2**31 - 1))
    checkpoint.job = job
    return checkpoint


def _refused(request: HttpRequest, pk: UUID, why: str) -> HttpResponse:
    messages.error(request, why)
    return _job_page(request, _job_or_404(request, pk), status=409)


def _job_page(request: HttpRequest, job: Job, status: int = 200) -> HttpResponse:
    """The page as of ``job.cursor``: its script asks the socket for everything after that."""
    may = may_change(request.user, job.project_id)
    measured = evaluations.of_job(job)
    context: dict[str, Any] = {
        "job": job,
        "may_change": may,
        "stopping": is_stopping(job),
        "actions": _actions(job) if may else [],
        "fixes": again.fixes(job) if may else [],
        "events": list(job.events.order_by("-cursor")[:EVENTS_SHOWN]),
        "checkpoints": evaluations.of_checkpoints(job, measured, request.user),
        "artifacts": list(job.artifacts.all()),
        "result": _result(job),
        "evaluation": evaluations.before_and_after(job),
    }
    if not wants_part(request):
        points = curves.of_job(job)
        words = request.GET.get("log", "")[: run_log.LONGEST_SEARCH].strip()
        context |= {
            "resumed": _resumed(request, job),
            "configuration": api_call.configuration(job.experiment),
            "curl": api_call.curl_of(request, job),
            "points": curves.by_column(points),
            "rows_shown": points[:: -(-len(points) // ROWS_SHOWN) or 1],
            "evaluations": [
                {"step": step, "loss": facts["eval_loss"]}
                for step, facts in measured.items()
                if isinstance(facts.get("eval_loss"), int | float)
            ],
            "drawings": curves.drawings(points, CHART),
            "chart": CHART,
            "words": words,
            "log": _log(request, job),
            "found": run_log.search(job, words) if words else None,
        }
    return render_page(request, "jobs/job_detail.html", context, status=status)


def _resumed(request: HttpRequest, job: Job) -> Job | None:
    """The job whose checkpoint it begins with, where one sees it."""
    pk = job.experiment.resumed_job_id
    if pk is None:
        return None
    found: Job | None = Job.objects.visible_to(request.user).filter(pk=pk).first()
    return found


def _log(request: HttpRequest, job: Job) -> run_log.Part:
    """Its end, or what stands at the byte that is asked for."""
    at = request.GET.get("at", "")
    if at.isdecimal() and len(at) < 16:
        return run_log.read(job, int(at), run_log.PAGE_BYTES)
    return run_log.tail(job, run_log.PAGE_BYTES)


def _actions(job: Job) -> list[tuple[str, Action]]:
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
