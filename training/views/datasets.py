"""Parts of a dataset's page that need a model: rows through its chat template, lengths in its
tokens."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_safe

from api.pages import render_page
from registry import pictures
from registry.models import BaseModel, Dataset
from training import dataset_rows

MODELS_OFFERED = 50
ROWS_SHOWN = 3


@login_required
@require_safe
def tokens(request: HttpRequest, pk: UUID) -> HttpResponse:
    """With no model chosen, the newest that has a tokenizer."""
    dataset = get_object_or_404(Dataset.objects.visible_to(request.user), pk=pk)
    models = _models(request.user)
    model = _chosen(request, models)
    lengths = dataset_rows.lengths(dataset, model) if model else None
    max_length = _number(request.GET.get("max_length", ""))
    first = _number(request.GET.get("first", "")) or 0
    split = request.GET.get("split", "train")
    if split not in dataset.statistics.get("splits", []):
        split = "train"
    shown = dataset_rows.preview(
        dataset, model, split=split, first=first, count=ROWS_SHOWN, max_length=max_length
    )
    context: dict[str, Any] = {
        "dataset": dataset,
        "models": models,
        "model": model,
        "lengths": lengths,
        "histogram": pictures.histogram(lengths.counts) if lengths else None,
        "limits": dataset_rows.limits(lengths, model, max_length) if lengths and model else [],
        "max_length": max_length,
        "split": split,
        "splits": dataset.statistics.get("splits", []),
        "first": first,
        "next": first + ROWS_SHOWN,
        "previous": max(first - ROWS_SHOWN, 0),
        **shown,
    }
    return render_page(request, "registry/dataset_tokens.html", context, part="tokens")


def _models(user: Any) -> list[BaseModel]:
    visible = BaseModel.objects.visible_to(user).exclude(storage_path="").exclude(is_gguf=True)
    return list(visible.filter(modality__in=("text", "multimodal"))[:MODELS_OFFERED])


def _chosen(request: HttpRequest, models: list[BaseModel]) -> BaseModel | None:
    wanted = request.GET.get("model", "")
    return next((one for one in models if str(one.pk) == wanted), models[0] if models else None)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and 0 < len(text) < 8 else None
