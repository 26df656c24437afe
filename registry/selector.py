"""Finding entries among very many: the lists of the registry, and the same cards in the wizard."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from django import forms
from django.core.cache import cache
from django.core.exceptions import BadRequest
from django.core.paginator import Page, Paginator
from django.db import connection
from django.db.models import Prefetch, QuerySet

from accounts import changes
from api import remembered
from registry.api.filters import AdapterFilter, BaseModelFilter, DatasetFilter
from registry.models import Adapter, BaseModel, Dataset, Modality, Stage

CARDS_A_PAGE = 24
ADAPTERS_A_PAGE = 25
MOST_FAMILIES = 100
ANY = [("", "Any")]


class Wanted(forms.Form):
    """What is asked for; the filters themselves are those of ``GET /api/base-models``."""

    q = forms.CharField(max_length=200, required=False)
    family = forms.CharField(max_length=60, required=False)
    modality = forms.ChoiceField(choices=[*ANY, *Modality.choices], required=False)
    stage = forms.ChoiceField(choices=[*ANY, *Stage.choices], required=False)
    trainable = forms.ChoiceField(
        choices=[*ANY, ("true", "Trainable"), ("false", "Not trainable")], required=False
    )


class Words(forms.Form):
    q = forms.CharField(max_length=200, required=False)


def models(user: Any, asked: Mapping[str, str], size: int = CARDS_A_PAGE) -> dict[str, Any]:
    """What ``registry/_model_selector.html`` and ``_model_cards.html`` show. Raises BadRequest."""
    wanted = _cleaned(Wanted, asked)
    filters = {name: value for name, value in wanted.items() if value}
    visible = BaseModel.objects.visible_to(user)
    # A model's card may be long and its config.json is not needed here.
    found = BaseModelFilter(filters, queryset=visible).qs.defer("model_card", "metadata")
    return {
        "page": page_of(
            found, asked.get("page"), size, (user.pk, user.is_superuser, *sorted(filters.items()))
        ),
        "wanted": wanted,
        "is_narrowed": bool(filters),
        "families": families(user),
        "modalities": Modality.choices,
        "stages": Stage.choices,
    }


def adapters(user: Any, asked: Mapping[str, str]) -> Page[Any]:
    """Those with the same words; the other filters ask for what only a base model has. Raises
    BadRequest."""
    q = _cleaned(Words, asked)["q"]
    visible = Adapter.objects.visible_to(user)
    found = AdapterFilter({"q": q} if q else {}, queryset=visible).qs
    # Their models apart: joined, SQLite may begin with the many models.
    models = Prefetch("base_model", BaseModel.objects.only("name"))
    rows = found.defer("model_card", "metadata").prefetch_related(models)
    return page_of(rows, asked.get("adapters"), ADAPTERS_A_PAGE, (user.pk, user.is_superuser, q))


def datasets(user: Any, asked: Mapping[str, str]) -> tuple[QuerySet[Dataset], str]:
    """The datasets with the words that are asked for, and the words. Raises BadRequest."""
    q = _cleaned(Words, asked)["q"]
    visible = Dataset.objects.visible_to(user)
    found: QuerySet[Dataset] = DatasetFilter({"q": q} if q else {}, queryset=visible).qs
    return found, q


def _cleaned(form: type[forms.Form], asked: Mapping[str, str]) -> dict[str, str]:
    filled = form(asked)
    if not filled.is_valid():
        raise BadRequest(filled.errors.as_text())
    return filled.cleaned_data


def families(user: Any) -> list[str]:
    """Of the models that this user sees; looked for again when a model has changed."""

    def look() -> list[str]:
        named = BaseModel.objects.visible_to(user).exclude(family="").order_by("family")
        return list(named.values_list("family", flat=True).distinct()[:MOST_FAMILIES])

    state = None if connection.in_atomic_block else _state(BaseModel)
    if state is None:
        return look()
    key = "-".join(str(part) for part in ("families", user.pk, user.is_superuser, *state))
    known: list[str] | None = cache.get(key)
    if known is None:
        known = look()
        cache.set(key, known)
    return known


def page_of(found: QuerySet[Any], number: str | None, size: int, asked: Hashable) -> Page[Any]:
    """A page as a Paginator gives it; counted and ordered again only when the table has changed.
    ``asked`` is what ``found`` follows from."""
    paginator = Paginator(found, size)
    wanted = int(number) if number and number.isdecimal() and len(number) < 10 else 1
    total, rows = _rows(found, max(wanted, 1), size, asked)
    paginator.count = total  # or it would count once more
    last = paginator.num_pages
    if wanted > last:
        _, rows = _rows(found, last, size, asked)
    return Page(list(rows), min(max(wanted, 1), last), paginator)


def _rows(found: QuerySet[Any], number: int, size: int, asked: Hashable) -> tuple[int, Any]:
    return remembered.page(
        found,
        (number - 1) * size,
        number * size,
        asked=("pages", found.model._meta.label, asked),
        state_now=lambda: _state(found.model),
        as_json=None,
    )


def _state(model: Any) -> Any:
    return changes.state(model._meta.db_table, *changes.RIGHTS)
