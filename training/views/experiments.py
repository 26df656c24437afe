"""Experiments: what was to be done, each with the jobs that went at it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import forms
from django.contrib.auth.decorators import login_required
from django.core.exceptions import BadRequest
from django.db.models import Prefetch, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_POST, require_safe

from accounts import ticked
from accounts.questions import Question
from accounts.scoping import may_change
from accounts.ticked import Deed, Refused
from api.pages import render_page
from registry.models import BaseModel, Dataset
from training import api_call, services
from training.models import Experiment, Job
from training.views import lists
from training.views.jobs import namesakes

ORDERS = {
    "newest": ("-created_at", "-id"),
    "oldest": ("created_at", "id"),
    "name": ("name", "-created_at", "-id"),
}
JOBS_SHOWN = 50


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


class ExperimentFilter(forms.Form):
    q = forms.CharField(max_length=200, required=False)
    model = forms.UUIDField(required=False)
    dataset = forms.UUIDField(required=False)
    recipe = forms.UUIDField(required=False)
    sort = forms.ChoiceField(choices=[("", ""), *((one, one) for one in ORDERS)], required=False)

    def of(self, rows: Any, user: Any) -> Any:
        """Raises BadRequest."""
        if not self.is_valid():
            raise BadRequest(self.errors.as_text())
        asked = self.cleaned_data
        if words := asked["q"]:
            rows = rows.filter(Q(name__icontains=words) | namesakes(words, user))
        for name, column in (("model", "base_model"), ("dataset", "dataset"), ("recipe", "recipe")):
            if asked[name]:
                rows = rows.filter(**{column: asked[name]})
        return rows

    @property
    def kept(self) -> dict[str, Any]:
        names = ("model", "dataset", "recipe", "sort")
        return {name: value for name in names if (value := self.cleaned_data[name])}


@login_required
@require_safe
def experiment_list(request: HttpRequest) -> HttpResponse:
    form = ExperimentFilter(request.GET)
    found = form.of(Experiment.objects.visible_to(request.user), request.user)
    rows = lists.ordered(found, ORDERS, form.cleaned_data["sort"])
    question = Question(
        request.user, *sorted(form.cleaned_data.items()), of=(Experiment, BaseModel, Dataset)
    )
    shown = Experiment.objects.with_names().prefetch_related(
        Prefetch("jobs", Job.objects.only("experiment_id", "status", "cancel_requested_at"))
    )
    context = {
        "form": form,
        "page": lists.page_of(rows, shown, request.GET.get("page"), question),
        "sort": form.cleaned_data["sort"] or "newest",
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
