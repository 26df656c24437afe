"""Experiments: what was to be done, each with the jobs that went at it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import forms
from django.contrib.auth.decorators import login_required
from django.db.models import Prefetch, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_POST, require_safe

from accounts import lists, ticked
from accounts.scoping import may_change
from accounts.ticked import Deed, Refused
from api.pages import render_page
from registry.models import BaseModel, Dataset
from training import api_call, services
from training.models import Experiment, Job, Recipe
from training.views import narrowed
from training.views.jobs import namesakes

JOBS_SHOWN = 50
RECIPES_SHOWN = 100


def _delete(experiment: Experiment, *, actor: Any) -> None:
    try:
        services.delete_experiment(experiment, actor=actor)
    except services.StillOpen as error:
        raise Refused(f"Experiment '{experiment}' stays as it is. {error}") from error


DEEDS = {
    "delete": Deed(
        "Delete",
        "trash",
        _delete,
        "deleted",
        tone="bad",
        confirm="Delete these experiments with all their jobs, numbers, logs and checkpoints? What "
        "the jobs have made stays in the registry.",
    ),
}


class ExperimentsAsked(lists.Asked):
    orders = {
        "newest": ("-created_at", "-id"),
        "oldest": ("created_at", "id"),
        "name": ("name", "-created_at", "-id"),
    }
    selects = ("recipe",)

    recipe = forms.ChoiceField(required=False)
    model = forms.UUIDField(required=False)
    dataset = forms.UUIDField(required=False)

    def __init__(self, asked: Any, user: Any) -> None:
        super().__init__(asked)
        visible = Recipe.objects.visible_to(user)
        known = {str(pk): name for pk, name in _names(visible[:RECIPES_SHOWN])}
        if (chosen := _uuid(asked.get("recipe", ""))) and str(chosen) not in known:
            known |= {str(pk): name for pk, name in _names(visible.filter(pk=chosen))}
        self.set_choices("recipe", [("", "Any"), *known.items()])

    def of(self, rows: Any, user: Any) -> Any:
        """Raises BadRequest."""
        asked = self.valid().cleaned_data
        if words := asked["q"]:
            rows = rows.filter(Q(name__icontains=words) | namesakes(words, user))
        for name, column in (("model", "base_model"), ("dataset", "dataset"), ("recipe", "recipe")):
            if asked[name]:
                rows = rows.filter(**{column: asked[name]})
        return rows


def _names(recipes: Any) -> Any:
    return recipes.values_list("pk", "display_name")


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


@login_required
@require_safe
def experiment_list(request: HttpRequest) -> HttpResponse:
    form = ExperimentsAsked(request.GET, request.user)
    found = form.of(Experiment.objects.visible_to(request.user), request.user)
    rows = form.in_order(found)
    question = form.question(request.user, Experiment, BaseModel, Dataset)
    shown = Experiment.objects.with_names().prefetch_related(
        Prefetch("jobs", Job.objects.only("experiment_id", "status", "cancel_requested_at"))
    )
    context = {
        "form": form,
        "page": lists.page_of(rows, shown, request.GET.get("page"), question),
        "narrowed": narrowed.to(request, form),
        "deeds": DEEDS.items(),
    }
    return render_page(request, "jobs/experiment_list.html", context, part="rows")


@login_required
@require_POST
def bulk(request: HttpRequest) -> HttpResponse:
    visible = Experiment.objects.visible_to(request.user)
    return ticked.answer(request, visible, DEEDS, name="experiment", back="experiments")


@login_required
@require_safe
def experiment_detail(request: HttpRequest, pk: UUID) -> HttpResponse:
    visible = Experiment.objects.visible_to(request.user)
    experiment = get_object_or_404(
        visible.select_related("base_model", "dataset", "recipe", "resumed_job"), pk=pk
    )
    jobs = Job.objects.visible_to(request.user).with_everything().filter(experiment=experiment)
    report = experiment.preflight
    context = {
        "experiment": experiment,
        "jobs": jobs[:JOBS_SHOWN],
        "may_change": may_change(request.user, experiment.project_id),
        "configuration": api_call.configuration(experiment),
        "report": report,
    }
    return render_page(request, "jobs/experiment_detail.html", context)
