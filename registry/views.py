"""Pages of base models, adapters and datasets."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_safe

from api.pages import render_page
from registry.models import Adapter, BaseModel, Dataset

ROWS_A_PAGE = 25
ADAPTERS_SHOWN = 50


@login_required
@require_safe
def model_list(request: HttpRequest) -> HttpResponse:
    found = _search(request, BaseModel.objects.visible_to(request.user), "name", "family")
    # A model's card may be long and its config.json is not needed here.
    page = _page(request, found.defer("model_card", "metadata"))
    adapters = Adapter.objects.visible_to(request.user).select_related("base_model")
    context = {
        "page": page,
        "adapters": adapters.defer("model_card", "metadata")[:ADAPTERS_SHOWN],
        "q": _words(request),
    }
    return render_page(request, "registry/model_list.html", context, part="rows")


@login_required
@require_safe
def model_detail(request: HttpRequest, pk: UUID) -> HttpResponse:
    """A base model; an event names an adapter by the same word, so its id leads to its own page."""
    visible = BaseModel.objects.visible_to(request.user)
    model = visible.filter(pk=pk).first()
    if model is None:
        adapter = get_object_or_404(Adapter.objects.visible_to(request.user), pk=pk)
        return redirect("adapter", adapter.pk)
    adapters = Adapter.objects.visible_to(request.user).filter(base_model=model)
    return render(
        request,
        "registry/model_detail.html",
        {"model": model, "adapters": adapters.defer("model_card")[:ADAPTERS_SHOWN]},
    )


@login_required
@require_safe
def adapter_detail(request: HttpRequest, pk: UUID) -> HttpResponse:
    adapters = Adapter.objects.visible_to(request.user).select_related("base_model")
    return render(
        request, "registry/adapter_detail.html", {"adapter": get_object_or_404(adapters, pk=pk)}
    )


@login_required
@require_safe
def dataset_list(request: HttpRequest) -> HttpResponse:
    found = _search(request, Dataset.objects.visible_to(request.user), "name")
    page = _page(request, found.defer("integrity_report", "statistics", "metadata"))
    context = {"page": page, "q": _words(request)}
    return render_page(request, "registry/dataset_list.html", context, part="rows")


@login_required
@require_safe
def dataset_detail(request: HttpRequest, pk: UUID) -> HttpResponse:
    dataset = get_object_or_404(Dataset.objects.visible_to(request.user), pk=pk)
    return render(request, "registry/dataset_detail.html", {"dataset": dataset})


def _search(request: HttpRequest, rows: QuerySet[Any], *fields: str) -> QuerySet[Any]:
    query = Q()
    for field in fields:
        query |= Q(**{f"{field}__icontains": _words(request)})
    return rows.filter(query)


def _page(request: HttpRequest, rows: QuerySet[Any]) -> Any:
    return Paginator(rows, ROWS_A_PAGE).get_page(request.GET.get("page"))


def _words(request: HttpRequest) -> str:
    return request.GET.get("q", "").strip()
