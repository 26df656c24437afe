"""Pages of datasets: the list, one with what the doctor says of it, and two versions beside each
other."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db.models import ProtectedError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST, require_safe
from rest_framework.exceptions import ValidationError

from accounts import lists, ticked
from accounts.scoping import may_change
from accounts.ticked import Deed, Refused
from api.errors import flatten, in_use
from api.pages import render_page, wants_part
from registry import checks, copies, downloads, pictures, selector, services, versions
from registry.api.doctor import RepairSerializer
from registry.doctor import FIELDS, NEED_COPY
from registry.models import Dataset, DatasetTask

FINDINGS_SHOWN = 200
VERSIONS_SHOWN = 20
TASKS_SHOWN = 5


def _check(dataset: Dataset, *, actor: Any) -> None:
    """By a worker, also where it would be quick: they may be many."""
    if not dataset.storage_path:
        raise Refused(f"Dataset '{dataset}' has no files here that could be read.")
    checks.request_check(dataset, user=actor, columns=dataset.columns)


def _delete(dataset: Dataset, *, actor: Any) -> None:
    try:
        services.delete(dataset)
    except ProtectedError as error:
        raise Refused(f"Dataset '{dataset}' stays as it is. {in_use(error, actor)}") from error


DEEDS = {
    "check": Deed("Check rows", "document-magnifying-glass", _check, "to be read by a worker"),
    "delete": Deed(
        "Delete",
        "trash",
        _delete,
        "deleted",
        tone="bad",
        confirm="Delete these datasets? What was uploaded or imported goes with them; files that "
        "were registered where they lie stay there.",
    ),
}


@login_required
@require_safe
def dataset_list(request: HttpRequest) -> HttpResponse:
    form = selector.DatasetsAsked(request.GET)
    found = form.found(request.user)
    shown = Dataset.objects.defer("integrity_report", "statistics", "metadata")
    question = form.question(request.user, Dataset)
    page = lists.page_of(found, shown, request.GET.get("page"), question)
    context = {
        "form": form,
        "page": page,
        "being_checked": set(checks.open_checks(list(page))),
        "deeds": DEEDS.items(),
    }
    return render_page(request, "registry/dataset_list.html", context, part="rows")


@login_required
@require_POST
def bulk(request: HttpRequest) -> HttpResponse:
    visible = Dataset.objects.visible_to(request.user)
    return ticked.answer(request, visible, DEEDS, name="dataset", back="datasets")


@login_required
@require_safe
def dataset_detail(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Whole; or, for a page that waits for the doctor, how far it is."""
    dataset = _dataset_or_404(request, pk)
    tasks = list(dataset.tasks.select_related("result")[:TASKS_SHOWN])
    at_work = [task for task in tasks if task.is_open]
    if wants_part(request) and not at_work:
        answer = HttpResponse()
        answer["HX-Refresh"] = "true"
        return answer
    facts = dataset.statistics
    code = request.GET.get("finding", "")
    context = {
        "dataset": dataset,
        "at_work": at_work,
        "failed": [task for task in tasks[:1] if task.status == DatasetTask.Status.FAILED],
        "may_change": may_change(request.user, dataset.project_id),
        "findings": _findings(dataset, code),
        "finding": code,
        "codes": dataset.integrity_report.get("counts", {}),
        "columns": _columns(dataset),
        "histogram": pictures.histogram(pictures.together(facts.get("lengths", {}))),
        "labels": pictures.shares(facts.get("labels", {})),
        "versions": versions.of(dataset).defer("integrity_report", "statistics")[:VERSIONS_SHOWN],
        "next_version": copies.next_version(dataset, dataset.name),
        "why_no_copy": copies.why_not(dataset),
        "only_train": facts.get("splits") == ["train"],
        "facts_need_copy": facts.get("layout") in NEED_COPY,
    }
    return render_page(request, "registry/dataset_detail.html", context, part="work")


def _dataset_or_404(request: HttpRequest, pk: UUID) -> Dataset:
    visible = Dataset.objects.visible_to(request.user)
    dataset: Dataset = get_object_or_404(visible, pk=pk)
    return dataset


def _findings(dataset: Dataset, code: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = dataset.integrity_report.get("findings", [])
    if code:
        found = [one for one in found if one.get("code") == code]
    return found[:FINDINGS_SHOWN]


def _columns(dataset: Dataset) -> list[dict[str, Any]]:
    """Each field with the column that it is read from, and those that there are."""
    names = dataset.statistics.get("columns", [])
    if not names or dataset.modality != "text":
        return []
    return [
        {"field": field, "column": dataset.columns.get(field, ""), "names": names}
        for field in FIELDS
        if field != "image"
    ]


@login_required
@require_POST
def check(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Look at the files again, under the columns that were chosen. Also from the wizard, which says
    by ``next`` where to go on."""
    dataset = _changeable(request, pk)
    columns = {field: request.POST.get(f"columns.{field}", "").strip()[:300] for field in FIELDS}
    columns = {field: column for field, column in columns.items() if column}
    try:
        services.check_dataset(dataset, user=request.user, columns=columns)
    except services.CannotRegister as error:
        messages.error(request, str(error))
    else:
        _tell(request, dataset)
    return redirect(_next(request) or reverse("dataset", args=[pk]))


def _tell(request: HttpRequest, dataset: Dataset) -> None:
    if dataset.integrity_checked and not dataset.integrity_passed:
        messages.error(request, f"{dataset} was checked again, and has errors.")
    elif dataset.integrity_checked:
        rows = dataset.num_samples or 0
        messages.success(request, f"{dataset} was checked again: {rows:,} usable rows.")
    else:
        messages.success(request, f"{dataset} is being checked.")


def _next(request: HttpRequest) -> str:
    wanted = request.POST.get("next", "")
    hosts = {request.get_host()}
    return wanted if wanted and url_has_allowed_host_and_scheme(wanted, hosts) else ""


def _changeable(request: HttpRequest, pk: UUID) -> Dataset:
    dataset = _dataset_or_404(request, pk)
    if not may_change(request.user, dataset.project_id):
        raise PermissionDenied
    return dataset


@login_required
@require_POST
def repair(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Have a repaired copy made. A box that is not ticked sends nothing."""
    dataset = _changeable(request, pk)
    said: dict[str, Any] = {
        name: value for name in ("version", "seed") if (value := request.POST.get(name, "").strip())
    }
    for name in copies.OPTIONS[:5]:
        said[name] = name in request.POST
    if percent := request.POST.get("validation_percent", "").strip():
        said["validation_share"] = _share(percent)
    asked = RepairSerializer(data=said)
    try:
        asked.is_valid(raise_exception=True)
        copies.request(dataset, user=request.user, **asked.validated_data)
    except ValidationError as error:
        problems = flatten(error.detail)
        messages.error(request, " ".join(f"{name}: {text}" for name, text in problems.items()))
    except copies.CannotCopy as error:
        messages.error(request, str(error))
    else:
        messages.success(request, "A repaired copy is being made. It appears among the versions.")
    return redirect("dataset", pk)


def _share(percent: str) -> Any:
    """What is no number is left as it is, for the serializer to say so."""
    try:
        return float(percent) / 100
    except ValueError:
        return percent


@login_required
@require_safe
def difference(request: HttpRequest, pk: UUID, other: UUID) -> HttpResponse:
    """What ``pk`` has that ``other`` has not, and the other way round."""
    new, old = _dataset_or_404(request, pk), _dataset_or_404(request, other)
    found = versions.difference(old, new)
    context = {
        "new": new,
        "old": old,
        "counts": found.counts,
        "facts": pictures.beside(old.statistics, new.statistics),
        **found.rows(),
    }
    return render(request, "registry/dataset_difference.html", context)


@login_required
@require_safe
def compare(request: HttpRequest, pk: UUID) -> HttpResponse:
    """The form's own address: leads to the page of the two."""
    try:
        return redirect("dataset-difference", pk, UUID(request.GET.get("with", "")))
    except ValueError as error:
        raise Http404 from error


@login_required
@require_safe
def download(request: HttpRequest, pk: UUID) -> Any:
    try:
        return downloads.answer(request, _dataset_or_404(request, pk))
    except downloads.NoFiles as error:
        messages.error(request, str(error))
        return redirect("dataset", pk)
