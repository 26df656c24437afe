"""The list of jobs, and what is done to several of them at once."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth.decorators import login_required
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from accounts import lists, ticked
from accounts.ticked import Deed
from api.pages import render_page
from registry.api.filters import BaseModelFilter, DatasetFilter
from registry.models import BaseModel, Dataset
from training import services
from training.lifecycle import IllegalMove
from training.models import Draft, Experiment, Job, JobQuerySet, Status
from training.services import StillOpen
from training.side_by_side import MOST_JOBS
from training.views import narrowed
from training.views.home import counts

DRAFTS_SHOWN = 20
# Of models and datasets with the words in their names so many are looked at.
MOST_NAMESAKES = 500


DEEDS = {
    "pause": Deed("Pause", "pause", services.pause, "asked to pause"),
    "resume": Deed("Resume", "play", services.resume, "back in the queue"),
    "retry": Deed("Retry", "arrow-path", services.retry, "back in the queue"),
    "cancel": Deed(
        "Cancel",
        "x-mark",
        services.cancel,
        "asked to stop",
        tone="bad",
        confirm="Cancel these jobs? Their last checkpoints stay, so they can be retried.",
    ),
    "delete": Deed(
        "Delete",
        "trash",
        services.delete,
        "deleted",
        tone="bad",
        confirm="Delete these jobs with their numbers, logs and checkpoints? What they have made "
        "stays in the registry.",
    ),
}


class JobsAsked(lists.Asked):
    orders = {
        "newest": ("-created_at", "-id"),
        "oldest": ("created_at", "id"),
        "name": ("name", "-created_at", "-id"),
        "status": ("status", "-created_at", "-id"),
        "finished": ("-finished_at", "-id"),
    }

    status = forms.ChoiceField(choices=[("", "All"), *Status.choices], required=False)
    model = forms.UUIDField(required=False)
    dataset = forms.UUIDField(required=False)
    experiment = forms.UUIDField(required=False)
    recipe = forms.UUIDField(required=False)

    def of(self, jobs: JobQuerySet, user: Any) -> JobQuerySet:
        """Without the status, which the tabs count. Raises BadRequest."""
        asked = self.valid().cleaned_data
        if words := asked["q"]:
            jobs = jobs.filter(Q(name__icontains=words) | namesakes(words, user, "experiment"))
        for name, column in (
            ("model", "experiment__base_model"),
            ("dataset", "experiment__dataset"),
            ("recipe", "experiment__recipe"),
            ("experiment", "experiment"),
        ):
            if asked[name]:
                jobs = jobs.filter(**{column: asked[name]})
        return jobs


def namesakes(words: str, user: Any, of: str = "") -> Q:
    """Experiments of models or datasets that are called like that, found by their own index of
    words. ``of`` is the way from a row to its experiment: "experiment"."""
    q = {"q": words}
    models = BaseModelFilter(q, queryset=BaseModel.objects.visible_to(user)).qs
    datasets = DatasetFilter(q, queryset=Dataset.objects.visible_to(user)).qs
    ids = {
        "base_model__in": list(models.values_list("pk", flat=True)[:MOST_NAMESAKES]),
        "dataset__in": list(datasets.values_list("pk", flat=True)[:MOST_NAMESAKES]),
    }
    found = Q()
    for column, some in ids.items():
        if some:
            experiments = Experiment.objects.filter(**{column: some}).values("pk")
            found |= Q(**{f"{of or 'pk'}__in": experiments})
    return found


@login_required
@require_safe
def job_list(request: HttpRequest) -> HttpResponse:
    form = JobsAsked(request.GET)
    found = form.of(Job.objects.visible_to(request.user), request.user)
    question = form.question(request.user, Job, Experiment, BaseModel, Dataset)
    by_status = question.answer("counts", lambda: counts(found))
    status = form.cleaned_data["status"]
    rows = form.in_order(found.filter(status=status) if status else found)
    total = by_status.get(status, 0) if status else by_status["total"]
    shown = Job.objects.with_names()
    context = {
        "form": form,
        "narrowed": narrowed.to(request, form),
        "page": lists.page_of(rows, shown, request.GET.get("page"), question, total=total),
        "status": status,
        "deeds": DEEDS.items(),
        "drafts": Draft.objects.of(request.user).unfinished()[:DRAFTS_SHOWN],
        "total": by_status["total"],
        "tabs": [
            (s.value, s.label, by_status.get(s, 0)) for s in Status if s in by_status or s == status
        ],
    }
    return render_page(request, "jobs/job_list.html", context)


@login_required
@require_POST
def bulk(request: HttpRequest) -> HttpResponse:
    """One of the deeds, to each job that is ticked; or all of them beside each other. What refuses
    stays as it is, and is named."""
    if request.POST.get("do") == "compare":
        chosen = ticked.chosen(request, "job")[:MOST_JOBS]
        return redirect(reverse("jobs-compare", query={"job": chosen}))
    jobs = Job.objects.visible_to(request.user).with_everything()
    refuses = (IllegalMove, StillOpen)
    return ticked.answer(request, jobs, DEEDS, name="job", refuses=refuses, back="jobs")
