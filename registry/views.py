"""Pages of base models and adapters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import BadRequest, PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from accounts import ticked
from accounts.scoping import may_change
from accounts.ticked import Deed, Refused
from api.pages import render_page
from registry import model_cards, model_checks, selector, services, stages
from registry.contents import contents
from registry.models import Adapter, BaseModel, Stage

ADAPTERS_SHOWN = 50


def _move(to: Stage) -> Callable[..., None]:
    def move(model: BaseModel, *, actor: Any) -> None:
        try:
            stages.move(model, to)
        except stages.CannotMove as error:
            raise Refused(f"Model '{model}' stays as it is. {error}") from error

    return move


def _check(model: BaseModel, *, actor: Any) -> None:
    if not model.storage_path:
        raise Refused(f"Model '{model}' has no files here that could be read.")
    model_checks.request(model)


DEEDS = {
    "promote": Deed(
        "Promote to production",
        "arrow-up-circle",
        _move(Stage.PRODUCTION),
        "in production now",
        confirm="Promote these models to production?",
    ),
    "check": Deed("Check files", "document-magnifying-glass", _check, "to be read by a worker"),
    "archive": Deed(
        "Archive",
        "archive-box",
        _move(Stage.ARCHIVED),
        "archived",
        tone="bad",
        confirm="Archive these models? No new job can start from them then.",
    ),
}


@login_required
@require_safe
def model_list(request: HttpRequest) -> HttpResponse:
    context = {
        **selector.models(request.user, request.GET),
        "adapters": selector.adapters(request.user, request.GET),
        "deeds": DEEDS.items(),
    }
    return render_page(request, "registry/model_list.html", context, part="rows")


@login_required
@require_POST
def models_bulk(request: HttpRequest) -> HttpResponse:
    visible = BaseModel.objects.visible_to(request.user)
    return ticked.answer(request, visible, DEEDS, name="model", back="models")


@login_required
@require_safe
def model_detail(request: HttpRequest, pk: UUID) -> HttpResponse:
    """A base model; an event names an adapter by the same word, so its id leads to its own page."""
    visible = BaseModel.objects.visible_to(request.user)
    model = visible.filter(pk=pk).first()
    if model is None:
        adapter = get_object_or_404(Adapter.objects.visible_to(request.user), pk=pk)
        return redirect("adapter", adapter.pk)
    adapters = list(
        Adapter.objects.visible_to(request.user)
        .filter(base_model=model)
        .defer("model_card", "metadata")[:ADAPTERS_SHOWN]
    )
    for adapter in adapters:
        adapter.base_model = model
    context = {
        "model": model,
        "card": model_cards.to_html(model.model_card),
        "adapters": adapters,
        "stages": _stages(request, model),
        "may_check": may_change(request.user, model.project_id),
        **contents(model),
    }
    return render(request, "registry/model_detail.html", context)


def _stages(request: HttpRequest, model: BaseModel) -> list[tuple[str, str, str]]:
    """Where this user may bring the model: the stage, the words of its button, and the question."""
    if not may_change(request.user, model.project_id):
        return []
    words = {
        Stage.PRODUCTION: ("Promote to production", "Promote this model to production?"),
        Stage.ARCHIVED: ("Archive", "Archive this model? No new job can start from it then."),
    }
    return [(to, *said) for to, said in words.items() if not stages.why_not(model, to)]


@login_required
@require_POST
def move_stage(request: HttpRequest, pk: UUID) -> HttpResponse:
    model = get_object_or_404(BaseModel.objects.visible_to(request.user), pk=pk)
    if not may_change(request.user, model.project_id):
        raise PermissionDenied
    to = request.POST.get("stage", "")
    if to not in Stage.values:
        raise BadRequest(f"stage: one of {', '.join(Stage.values)}.")
    try:
        stages.move(model, Stage(to))
    except stages.CannotMove as error:
        messages.error(request, str(error))
    else:
        messages.success(request, f"{model} is in {to} now.")
    return redirect("model", pk)


@login_required
@require_POST
def model_check(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Read all files again: small ones at once, others by a worker."""
    model = get_object_or_404(BaseModel.objects.visible_to(request.user), pk=pk)
    if not may_change(request.user, model.project_id):
        raise PermissionDenied
    try:
        model_checks.check(model)
    except services.CannotRegister as error:
        messages.error(request, str(error))
        return redirect("model", pk)
    if model.check_heard_at:
        messages.success(request, "Its files are being read. This page will say what came of it.")
    elif model.failed_check:
        messages.error(request, model.failed_check["message"])
    elif model.status == BaseModel.Status.BROKEN:
        messages.error(request, "Its files are not those that were registered.")
    else:
        messages.success(request, "All files are as they were registered.")
    return redirect("model", pk)


@login_required
@require_safe
def adapter_detail(request: HttpRequest, pk: UUID) -> HttpResponse:
    adapters = Adapter.objects.visible_to(request.user).select_related("base_model")
    adapter = get_object_or_404(adapters, pk=pk)
    card = model_cards.to_html(adapter.model_card)
    return render(
        request,
        "registry/adapter_detail.html",
        {"adapter": adapter, "card": card, **contents(adapter)},
    )
