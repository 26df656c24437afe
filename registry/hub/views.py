"""Pages of transfers: the list, one of them, a new one, and the projects' hub tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts import lists, ticked
from accounts.models import Project
from accounts.scoping import is_owner, may_change, owned_by, writable_by
from accounts.ticked import Deed
from api.pages import render_page
from registry.hub import checking, forms, services, tokens
from registry.hub.models import BucketKey, HubToken, Kind, Status, Transfer
from registry.models import Adapter, BaseModel

FILES_SHOWN = 200


@dataclass(frozen=True)
class Action:
    """A button."""

    label: str
    icon: str
    said: str
    tone: str = ""
    confirm: str = ""


ACTIONS = {
    "pause": Action("Pause", "pause", "Paused. What has come so far is kept."),
    "resume": Action("Resume", "play", "Back in the queue. It goes on from where it stopped."),
    "retry": Action("Retry", "arrow-path", "Back in the queue."),
    "cancel": Action(
        "Cancel",
        "x-mark",
        "Cancelled. What had come is removed.",
        tone="bad",
        confirm="Cancel this transfer? What has come so far is removed.",
    ),
}

DEEDS = {
    "pause": Deed("Pause", "pause", services.pause, "paused"),
    "resume": Deed("Resume", "play", services.resume, "back in the queue"),
    "retry": Deed("Retry", "arrow-path", services.retry, "back in the queue"),
    "cancel": Deed(
        "Cancel",
        "x-mark",
        services.cancel,
        "cancelled",
        tone="bad",
        confirm="Cancel these transfers? What has come so far is removed.",
    ),
}


@login_required
@require_safe
def transfer_list(request: HttpRequest) -> HttpResponse:
    form = forms.TransfersAsked(request.GET).valid()
    found = Transfer.objects.visible_to(request.user)
    words, kind = form.cleaned_data["q"], form.cleaned_data["kind"]
    if kind:
        found = found.filter(kind=kind)
    if words:
        found = found.filter(
            Q(name__icontains=words)
            | Q(hf_repo_id__icontains=words)
            | Q(hf_repo_id="", url__icontains=words)  # one of the two is there
        )
    question = form.question(request.user, Transfer)
    counts = question.answer("counts", lambda: _counts(found))
    status = form.cleaned_data["status"]
    rows = form.in_order(found.filter(status=status) if status else found)
    total = counts.get(status, 0) if status else sum(counts.values())
    shown = Transfer.objects.select_related("project").defer("left_out", "notes")
    page = lists.page_of(rows, shown, request.GET.get("page"), question, total=total)
    changeable = _changeable(request.user, page.object_list)
    for transfer in page.object_list:
        transfer.actions = actions_of(transfer) if transfer.pk in changeable else []
    context = {
        "page": page,
        "form": form,
        "status": status,
        "total": sum(counts.values()),
        "deeds": DEEDS.items(),
        "tabs": [
            (s.value, s.label, counts.get(s, 0)) for s in Status if s in counts or s == status
        ],
    }
    return render_page(request, "transfers/transfer_list.html", context)


@login_required
@require_POST
def bulk(request: HttpRequest) -> HttpResponse:
    visible = Transfer.objects.visible_to(request.user)
    refuses = (services.IllegalMove,)
    return ticked.answer(
        request, visible, DEEDS, name="transfer", refuses=refuses, back="transfers"
    )


def _counts(found: Any) -> dict[str, int]:
    """How many are in each status."""
    return dict(found.order_by().values_list("status").annotate(count=Count("*")))


def actions_of(transfer: Transfer) -> list[tuple[str, Action]]:
    return [
        (verb, action)
        for verb, action in ACTIONS.items()
        if transfer.status in services.POSSIBLE[verb]
    ]


def _changeable(user: Any, transfers: Any) -> set[UUID]:
    """Asked once for each project on the page."""
    projects = {transfer.project_id for transfer in transfers}
    ours = {project for project in projects if may_change(user, project)}
    return {transfer.pk for transfer in transfers if transfer.project_id in ours}


@login_required
@require_safe
def transfer_detail(request: HttpRequest, pk: UUID) -> HttpResponse:
    return _page(request, _transfer_or_404(request, pk))


@login_required
@require_POST
def act(request: HttpRequest, pk: UUID, verb: str) -> HttpResponse:
    """One of the buttons. An illegal move leaves everything as it is and says so (409)."""
    transfer = _transfer_or_404(request, pk)
    if not may_change(request.user, transfer.project_id):
        raise PermissionDenied
    try:
        services.VERBS[verb](transfer, actor=request.user)
    except services.IllegalMove as error:
        messages.error(request, str(error))
        return _page(request, _transfer_or_404(request, pk), status=409)
    messages.success(request, ACTIONS[verb].said)
    return redirect("transfer", pk)


def _transfer_or_404(request: HttpRequest, pk: UUID) -> Transfer:
    visible = Transfer.objects.visible_to(request.user).select_related("project", "created_by")
    transfer: Transfer = get_object_or_404(visible, pk=pk)
    return transfer


def _page(request: HttpRequest, transfer: Transfer, status: int = 200) -> HttpResponse:
    may = may_change(request.user, transfer.project_id)
    files = list(transfer.files.order_by("-size_bytes", "path")[: FILES_SHOWN + 1])
    context = {
        "transfer": transfer,
        "actions": actions_of(transfer) if may else [],
        "files": files[:FILES_SHOWN],
        "more_files": len(files) > FILES_SHOWN,
        "hub": settings.HF_ENDPOINT,
    }
    return render_page(request, "transfers/transfer_detail.html", context, status=status)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def new(request: HttpRequest) -> HttpResponse:
    """GET with a repository asks the hub what there is; POST starts it."""
    projects = list(writable_by(request.user))
    if not projects:
        raise PermissionDenied
    if request.method == "POST":
        form = forms.NewTransfer(request.POST)
        serializer = form.checked(request)
        if serializer is not None:
            transfer = serializer.save()
            messages.success(request, "It is in the queue, and goes on by itself.")
            return redirect("transfer", transfer.pk)
        return _new_page(request, form, projects, None, status=422)
    if not request.GET.get("hf_repo_id"):
        start = {"kind": Kind.HF_MODEL.value, "private": True, **request.GET.dict()}
        return _new_page(request, forms.NewTransfer(initial=start), projects, None)
    form = forms.NewTransfer(request.GET)
    serializer = form.checked(request)
    if serializer is None:
        return _new_page(request, form, projects, None)
    check = checking.check(form.transfer(serializer))
    return _new_page(request, form, projects, check)


def _new_page(
    request: HttpRequest,
    form: forms.NewTransfer,
    projects: list[Project],
    check: checking.Check | None,
    status: int = 200,
) -> HttpResponse:
    kind = form["kind"].value()
    context = {
        "form": form,
        "kinds": forms.IMPORTS,
        "projects": projects,
        "check": check,
        "is_upload": kind == Kind.HF_UPLOAD,
        "is_web": kind in forms.WEB,
        "is_bucket": kind in forms.BUCKETS,
        "entry": _entry(request, form["model_id"].value()) if kind == Kind.HF_UPLOAD else None,
        "hub": settings.HF_ENDPOINT,
        "hub_name": settings.HF_ENDPOINT.partition("://")[2],
    }
    return render_page(request, "transfers/transfer_new.html", context, part="plan", status=status)


def _entry(request: HttpRequest, model_id: Any) -> BaseModel | Adapter:
    """What an upload is to send. A wrong address is a 404."""
    try:
        pk = UUID(str(model_id))
    except ValueError:
        raise Http404 from None
    model: BaseModel | None = BaseModel.objects.visible_to(request.user).filter(pk=pk).first()
    if model is not None:
        return model
    adapter: Adapter = get_object_or_404(Adapter.objects.visible_to(request.user), pk=pk)
    return adapter


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def hub_tokens(request: HttpRequest) -> HttpResponse:
    """Which projects have a token; their owners set it."""
    if request.method == "POST":
        form = forms.Token(request.POST)
        if form.is_valid():
            project = get_object_or_404(
                Project.objects.visible_to(request.user), pk=form.cleaned_data["project_id"]
            )
            if not is_owner(request.user, project.pk):
                raise PermissionDenied
            tokens.keep(project, form.cleaned_data["token"], user=request.user)
            messages.success(request, f"{project} has its token. Nobody is shown it again.")
            return redirect("hub-tokens")
        return _tokens_page(request, form, status=422)
    return _tokens_page(request, forms.Token())


def _tokens_page(
    request: HttpRequest, form: forms.Token | forms.NewBucketKey, status: int = 200
) -> HttpResponse:
    visible = Project.objects.visible_to(request.user).select_related("hub_token")
    projects = list(visible.prefetch_related("bucket_keys"))
    ours = set(owned_by(request.user).values_list("pk", flat=True))
    for project in projects:
        project.is_ours = project.pk in ours  # type: ignore[attr-defined]
    context = {"projects": projects, "form": form, "hub": settings.HF_ENDPOINT}
    return render_page(request, "transfers/hub_tokens.html", context, status=status)


@login_required
@require_POST
def remove_hub_token(request: HttpRequest, pk: UUID) -> HttpResponse:
    token = get_object_or_404(HubToken.objects.visible_to(request.user), pk=pk)
    if not is_owner(request.user, token.project_id):
        raise PermissionDenied
    tokens.remove(token)
    messages.success(request, f"{token.project} has no hub token any more.")
    return redirect("hub-tokens")


@login_required
@require_POST
def set_bucket_key(request: HttpRequest) -> HttpResponse:
    form = forms.NewBucketKey(request.POST)
    if not form.is_valid():
        return _tokens_page(request, form, status=422)
    said = form.cleaned_data
    project = get_object_or_404(Project.objects.visible_to(request.user), pk=said["project_id"])
    if not is_owner(request.user, project.pk):
        raise PermissionDenied
    key = tokens.keep_key(
        project,
        said["endpoint_url"],
        said["access_key_id"],
        said["secret_access_key"],
        user=request.user,
    )
    messages.success(request, f"{project} has its key for {key.server}. Nobody is shown it again.")
    return redirect("hub-tokens")


@login_required
@require_POST
def remove_bucket_key(request: HttpRequest, pk: UUID) -> HttpResponse:
    visible = BucketKey.objects.visible_to(request.user).select_related("project")
    key = get_object_or_404(visible, pk=pk)
    if not is_owner(request.user, key.project_id):
        raise PermissionDenied
    tokens.remove(key)
    messages.success(request, f"{key.project} has no key for {key.server} any more.")
    return redirect("hub-tokens")
