"""Pages of base models, adapters and datasets."""

from __future__ import annotations

from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_safe

from api.pages import render_page
from registry import selector
from registry.models import Adapter, BaseModel, Dataset

ROWS_A_PAGE = 25
ADAPTERS_SHOWN = 50


@login_required
@require_safe
def model_list(request: HttpRequest) -> HttpResponse:
    # Their models apart: joined, SQLite may begin with the many models.
    adapters = Adapter.objects.visible_to(request.user).prefetch_related("base_model")
    context = {
        **selector.models(request.user, request.GET),
        "adapters": adapters.defer("model_card", "metadata")[:ADAPTERS_SHOWN],
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
    found, q = selector.datasets(request.user, request.GET)
    rows = found.defer("integrity_report", "statistics", "metadata")
    page = selector.page_of(
        rows, request.GET.get("page"), ROWS_A_PAGE, (request.user.pk, request.user.is_superuser, q)
    )
    context = {"page": page, "q": q}
    return render_page(request, "registry/dataset_list.html", context, part="rows")


@login_required
@require_safe
def dataset_detail(request: HttpRequest, pk: UUID) -> HttpResponse:
    dataset = get_object_or_404(Dataset.objects.visible_to(request.user), pk=pk)
    return render(request, "registry/dataset_detail.html", {"dataset": dataset})
