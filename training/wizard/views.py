"""Pages of the wizard. Every step works as a plain form; scripts save it while one types."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from rest_framework.exceptions import ValidationError

from accounts.scoping import may_change
from api.errors import flatten, sentence
from api.pages import render_page
from registry.models import BaseModel, Dataset
from training import services
from training.models import Draft, Job, Recipe
from training.wizard import drafts, pages, probes
from training.wizard.sheet import Sheet
from training.wizard.steps import BY_NAME, NAMES


@login_required
@require_GET
def new(request: HttpRequest) -> HttpResponse:
    """Begin a draft and go to it. The address may say what from: ``recipe`` (id or name),
    ``model``, ``dataset``, or ``clone``, a job."""
    projects = drafts.projects_of(request.user)
    if not projects:
        raise PermissionDenied
    asked, user = request.GET, request.user
    if "clone" in asked:
        job = _row(Job.objects.visible_to(user).select_related("experiment"), asked["clone"])
        own = next((one for one in projects if one.pk == job.project_id), projects[0])
        metadata = {"origin": "clone", "job_id": str(job.pk)}
        step = _checkpoint_step(job, asked["step"]) if "step" in asked else None
        answers = drafts.answers_of(job, step)
        draft = drafts.begin(user, answers=answers, metadata=metadata, project=own)
        drafts.settle(draft, user)
        return redirect("draft", draft.pk)
    answers, metadata = {}, {"origin": "wizard"}
    if "recipe" in asked:
        recipe = _recipe(user, asked["recipe"])
        answers["recipe_id"] = str(recipe.pk)
        metadata = {"origin": "template", "template_id": str(recipe.pk)}
    if "model" in asked:
        answers["base_model_id"] = str(_row(BaseModel.objects.visible_to(user), asked["model"]).pk)
    if "dataset" in asked:
        answers["dataset_id"] = str(_row(Dataset.objects.visible_to(user), asked["dataset"]).pk)
    draft = drafts.begin(user, answers=answers, metadata=metadata, project=projects[0])
    if "model" in asked and "model" not in Sheet(draft, user).problems:
        drafts.go_through(draft, "model")
    return redirect("draft", draft.pk)


def _row(rows: Any, pk: str) -> Any:
    try:
        return get_object_or_404(rows, pk=UUID(pk))
    except ValueError as error:
        raise Http404 from error


def _checkpoint_step(job: Job, step: str) -> int:
    if not step.isascii() or not step.isdigit() or len(step) > 9:
        raise Http404
    return int(get_object_or_404(job.checkpoints, step=int(step)).step)


def _recipe(user: Any, wanted: str) -> Recipe:
    """By id, or by name: one's own before the shared one."""
    visible = Recipe.objects.visible_to(user)
    try:
        found = visible.filter(pk=UUID(wanted)).first()
    except ValueError:
        found = visible.filter(name=wanted).order_by("built_in", "-created_at").first()
    if found is None:
        raise Http404
    return found  # type: ignore[no-any-return]


@login_required
@require_GET
def go_on(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Where one was, or the job that the draft has become."""
    draft = _draft_or_404(request, pk)
    if draft.job is not None:
        return redirect("job", draft.job.pk)
    return redirect("draft-step", pk, Sheet(draft, request.user).first_open)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def step(request: HttpRequest, pk: UUID, step: str) -> HttpResponse:
    if step not in BY_NAME:
        raise Http404
    draft = _draft_or_404(request, pk)
    if draft.job is not None:
        return redirect("job", draft.job.pk)
    if request.method == "POST":
        return _answered(request, draft, step)
    sheet = Sheet(draft, request.user)
    if not sheet.is_reachable(step):
        return redirect("draft-step", pk, sheet.first_open)
    response = _page(request, sheet, step)
    if request.htmx and step == "preflight" and not probes.is_under_way(sheet):  # type: ignore[attr-defined]
        response["HX-Refresh"] = "true"  # it was asked how far the probe is: now the page has it
    return response


def _answered(request: HttpRequest, draft: Draft, step: str) -> HttpResponse:
    """A form was sent: by a script that saves (a part comes back), or by a button."""
    said = {name: values[-1] for name, values in request.POST.lists()}
    for name in request.POST.getlist("ticked"):  # boxes of which several may be ticked
        said[name] = ",".join(request.POST.getlist(f"{name}[]"))
    asks = BY_NAME[step].asks
    answers = {path: text for path, text in said.items() if asks and path.startswith(asks)}
    try:
        sheet = drafts.answer(draft, answers, request.user, _seen(said))
    except drafts.ChangedElsewhere as error:
        return _told(request, error, answers, step)
    if request.htmx:  # type: ignore[attr-defined]
        context = pages.saved(request, sheet, step, said, before=draft)
        return render_page(request, "wizard/step.html", context, part="saved")
    if said.get("go") != "next":
        return redirect("draft-step", draft.pk, step)
    if step in sheet.problems or not sheet.is_reachable(step):
        return _page(request, sheet, step, status=422)
    return redirect("draft-step", draft.pk, drafts.go_through(sheet.draft, step))


def _seen(said: dict[str, str]) -> drafts.Seen | None:
    """What the page knew that says this; None for one that does not tell."""
    version = said.get("version", "")
    if not version.isascii() or not version.isdigit() or len(version) > 9:
        return None
    return drafts.Seen(int(version), said.get("tab", ""))


def _told(
    request: HttpRequest, error: drafts.ChangedElsewhere, said: dict[str, str], step: str
) -> HttpResponse:
    """This page is older than the draft: it says so, and keeps what was typed into it (409)."""
    draft = error.draft
    draft.answers = {**draft.answers, **{path: text for path, text in said.items() if text}}
    sheet = Sheet(draft, request.user)
    context = {"draft": draft, "step": BY_NAME[step], "differences": error.differences}
    if request.htmx:  # type: ignore[attr-defined]
        return render_page(request, "wizard/step.html", context, part="elsewhere", status=409)
    return _page(request, sheet, step, status=409, also=context)


@login_required
@require_POST
def begin_anew(request: HttpRequest, pk: UUID) -> HttpResponse:
    """With the base model instead of the checkpoint."""
    drafts.begin_anew(_open_or_404(request, pk))
    return redirect("draft-step", pk, "review")


@login_required
@require_POST
def fix(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Apply one of the fixes that preflight offers, and look again."""
    draft = _open_or_404(request, pk)
    try:
        sheet = drafts.fix(draft, request.POST.get("title", ""), request.user)
    except drafts.Gone as error:
        messages.error(request, str(error))
    else:
        needs = sheet.report.estimated_vram_mb / 1024 if sheet.report else 0
        words = f" It now needs {needs:.1f} GiB." if needs else ""
        messages.success(request, f"Done: {request.POST['title']}.{words}")
    return redirect("draft-step", pk, "preflight")


@login_required
@require_POST
def discard(request: HttpRequest, pk: UUID) -> HttpResponse:
    draft = _open_or_404(request, pk)
    drafts.discard(draft)
    messages.success(request, f"Discarded: {draft}.")
    return redirect("jobs")


@login_required
@require_POST
def create(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Make the job. Sent twice it is made once, and both lead to it."""
    draft = _draft_or_404(request, pk)
    if draft.job is not None:
        return redirect("job", draft.job.pk)
    said = {name: values[-1] for name, values in request.POST.lists()}
    asks = BY_NAME["review"].asks
    answers = {path: text for path, text in said.items() if path in asks}
    try:
        sheet = drafts.answer(draft, answers, request.user, _seen(said))
    except drafts.ChangedElsewhere as error:
        return _told(request, error, answers, "review")
    seen = _seen(said)
    if seen and seen.version != draft.version and seen.tab != draft.tab:
        # What one has looked over is not what would be made.
        messages.error(request, "It was changed on another page. Look it over once more.")
        return _page(request, sheet, "review", status=409)
    if not may_change(request.user, sheet.draft.project_id):
        raise PermissionDenied
    wrong = next((name for name in NAMES if name in sheet.problems), None)
    if wrong is not None or sheet.first_open != "review":
        messages.error(request, "Something is still in the way. Nothing was created.")
        return redirect("draft-step", pk, wrong or sheet.first_open)
    try:
        job = drafts.create(sheet.draft, request.user)
    except ValidationError as error:
        refused = flatten(error.detail)
        return _page(request, sheet, "review", status=422, refused=refused)
    except services.PreflightFailed as error:
        messages.error(request, str(error))
        return redirect("draft-step", pk, "preflight")
    messages.success(request, "The job is created.")
    return redirect("job", job.pk)


@login_required
@require_POST
def keep_recipe(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Keep what was said about training as a recipe of the project."""
    draft = _open_or_404(request, pk)
    try:
        recipe = drafts.keep_as_recipe(draft, request.POST.get("recipe_name", ""), request.user)
    except ValidationError as error:
        messages.error(request, sentence(flatten(error.detail)))
    else:
        messages.success(request, f"Saved as the recipe {recipe}.")
    return redirect("draft-step", pk, "review")


def _draft_or_404(request: HttpRequest, pk: UUID) -> Draft:
    drafts_of = Draft.objects.of(request.user).select_related("project", "job")
    return get_object_or_404(drafts_of, pk=pk)


def _open_or_404(request: HttpRequest, pk: UUID) -> Draft:
    return get_object_or_404(Draft.objects.of(request.user).unfinished(), pk=pk)


def _page(
    request: HttpRequest,
    sheet: Sheet,
    step: str,
    *,
    status: int = 200,
    refused: dict[str, str] | None = None,
    also: dict[str, Any] | None = None,
) -> HttpResponse:
    context = pages.context(request, sheet, step, complain=status == 422, refused=refused or {})
    context |= also or {}
    return render_page(request, f"wizard/{step}.html", context, part="rows", status=status)
