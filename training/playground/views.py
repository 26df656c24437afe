"""The playground's pages. Without scripts a page that waits for an answer fetches itself again."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from rest_framework.exceptions import APIException, ValidationError

from accounts.scoping import may_change
from api.errors import flatten
from api.pages import render_page
from registry.models import Adapter, BaseModel, Modality
from training.api.generations import GenerationCreateSerializer, ask
from training.models import Generation, Job
from training.playground import generations, targets
from training.playground.prompt import Prompt

PROMPTS_SHOWN = 15
CHOICES_SHOWN = 12


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def playground(request: HttpRequest) -> HttpResponse:
    """What to try (``job``, ``model`` or ``adapter`` in the address), and the form that asks it."""
    said = request.POST if request.method == "POST" else request.GET
    target, refused = _target(request, said)
    if target is None:
        return render(request, "playground/choose.html", _choices(request, refused))
    previous = _previous(request, said.get("after"))
    prompt = Prompt(target, said if request.method == "POST" else None, previous)
    if request.method != "POST":
        return _page(request, prompt)
    if prompt.goes_on and previous and not previous.is_final:
        prompt.refuse({"prompt": "The answer that this is to go on from is still being written."})
        return _page(request, prompt, status=422)
    try:
        body = GenerationCreateSerializer(data=prompt.body, context={"request": request})
        body.is_valid(raise_exception=True)
        asked = dict(body.validated_data)
        generation = ask(request, asked.pop("target"), asked)
    except ValidationError as error:
        prompt.refuse(flatten(error.detail))
        return _page(request, prompt, status=422)
    except APIException as error:
        messages.error(request, str(error.detail))
        return _page(request, prompt, status=error.status_code)
    return redirect("generation", generation.pk)


@login_required
@require_safe
def generation_detail(request: HttpRequest, pk: UUID) -> HttpResponse:
    """One prompt, its answers, and the form for the next one."""
    generation = _generation_or_404(request, pk)
    context: dict[str, Any] = {
        "generation": generation,
        "sides": _sides(generation),
        "may_change": may_change(request.user, generation.project_id),
    }
    target = _target_of(request, generation)
    if target is not None:
        context["prompt"] = Prompt(target, None, generation)
    return render_page(request, "playground/generation.html", context)


@login_required
@require_POST
def cancel(request: HttpRequest, pk: UUID) -> HttpResponse:
    generation = _generation_or_404(request, pk)
    if not may_change(request.user, generation.project_id):
        raise PermissionDenied
    try:
        generations.cancel(generation)
    except generations.AlreadyOver:
        messages.error(request, "It was over already.")
    return redirect("generation", pk)


def _page(request: HttpRequest, prompt: Prompt, status: int = 200) -> HttpResponse:
    what = prompt.target.what
    ours = Q(adapter=what) if isinstance(what, Adapter) else Q(tuned_model=what)
    if what == prompt.target.base_model:
        ours = Q(base_model=what, tuned_model=None, adapter=None)
    recent = Generation.objects.visible_to(request.user).filter(ours).with_everything()
    context = {
        "prompt": prompt,
        "recent": recent[:PROMPTS_SHOWN],
        "kept_days": settings.TRAINYARD_PLAYGROUND_DAYS,
    }
    return render(request, "playground/playground.html", context, status=status)


def _target(request: HttpRequest, said: Any) -> tuple[targets.Target | None, str]:
    """What the address names; with a reason where that cannot be tried."""
    of: dict[str, tuple[Any, Any]] = {
        "job": (Job, targets.of_job),
        "model": (BaseModel, targets.of_model),
        "adapter": (Adapter, targets.of_adapter),
    }
    for name, (model, target_of) in of.items():
        if name not in said:
            continue
        found = targets.visible(model, request.user, said[name])
        if found is None:
            raise Http404
        try:
            return target_of(found, request.user), ""
        except targets.CannotTry as error:
            return None, str(error)
    return None, ""


def _target_of(request: HttpRequest, generation: Generation) -> targets.Target | None:
    """None where it is gone, or cannot be tried any more."""
    what, user = generation.what, request.user
    try:
        if isinstance(what, Adapter):
            return targets.of_adapter(what, user)
        return targets.of_model(what, user) if what else None
    except targets.CannotTry:
        return None


def _previous(request: HttpRequest, pk: str | None) -> Generation | None:
    """The prompt that this one may go on from."""
    found: Generation | None = targets.visible(Generation, request.user, pk)
    return found


def _choices(request: HttpRequest, refused: str) -> dict[str, Any]:
    """What can be tried, the newest first, and what has been tried of late."""
    user = request.user
    adapters = Adapter.objects.visible_to(user).filter(method__in=targets.WRITING)
    models = BaseModel.objects.visible_to(user).filter(
        servable=True, is_gguf=False, modality__in=[Modality.TEXT, Modality.MULTIMODAL]
    )
    recent = Generation.objects.visible_to(user).with_everything()
    return {
        "refused": refused,
        "adapters": adapters.exclude(storage_path="").select_related("base_model")[:CHOICES_SHOWN],
        "models": models.exclude(storage_path="")[:CHOICES_SHOWN],
        "recent": recent[:PROMPTS_SHOWN],
        "kept_days": settings.TRAINYARD_PLAYGROUND_DAYS,
    }


def _sides(generation: Generation) -> list[dict[str, Any]]:
    """What is shown of each answer, in the order of `Generation.sides`."""
    names = {
        "tuned": (generation.tuned, "Tuned"),
        "base": (generation.base_model, "Base model"),
    }
    return [
        {"side": side, "model": names[side][0], "label": names[side][1], **(answer or {})}
        for side in generation.sides
        for answer in [generation.answers.get(side)]
    ]


def _generation_or_404(request: HttpRequest, pk: UUID) -> Generation:
    visible = Generation.objects.visible_to(request.user).with_everything()
    generation: Generation = get_object_or_404(visible, pk=pk)
    return generation
