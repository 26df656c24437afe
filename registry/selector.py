"""Finding entries among very many: the lists of the registry, and the same cards in the wizard."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django import forms
from django.core.paginator import Page
from django.db.models import F, Prefetch, QuerySet

from accounts import lists
from accounts.questions import Question
from registry.api.filters import AdapterFilter, BaseModelFilter, DatasetFilter
from registry.models import Adapter, BaseModel, Dataset, Modality, RowFormat, Stage

CARDS_A_PAGE = 24
ADAPTERS_A_PAGE = 25
MOST_FAMILIES = 100
ANY = [("", "Any")]
# What the doctor has said of a dataset, in the words of the API's filters.
CHECKS = {
    "passed": {"integrity_passed": "true"},
    "errors": {"integrity_checked": "true", "integrity_passed": "false"},
    "none": {"integrity_checked": "false"},
}


class ModelsAsked(lists.Asked):
    """The filters themselves are those of ``GET /api/base-models``."""

    orders = {
        "newest": ("-created_at", "-id"),
        "oldest": ("created_at", "id"),
        "name": ("name", "-created_at", "-id"),
        "parameters": (F("params_b").desc(nulls_last=True), "-created_at", "-id"),
        "size": ("-size_bytes", "-created_at", "-id"),
    }
    selects = ("family", "modality", "stage", "trainable", "sort")

    family = forms.ChoiceField(required=False)
    modality = forms.ChoiceField(choices=[*ANY, *Modality.choices], required=False)
    stage = forms.ChoiceField(choices=[*ANY, *Stage.choices], required=False)
    trainable = forms.ChoiceField(
        label="Training",
        choices=[*ANY, ("true", "Trainable"), ("false", "Not trainable")],
        required=False,
    )

    def __init__(self, asked: Mapping[str, str], user: Any) -> None:
        super().__init__(asked)
        known = dict.fromkeys([*families(user), asked.get("family", "")])
        self.set_choices("family", [*ANY, *((name, name) for name in known if name)])


class DatasetsAsked(lists.Asked):
    """The same of ``GET /api/datasets``."""

    orders = {
        "newest": ("-created_at", "-id"),
        "oldest": ("created_at", "id"),
        "name": ("name", "-created_at", "-id"),
        "rows": (F("num_samples").desc(nulls_last=True), "-created_at", "-id"),
        "size": ("-size_bytes", "-created_at", "-id"),
    }
    selects: ClassVar[tuple[str, ...]] = ("row_format", "check", "is_split", "modality")

    row_format = forms.ChoiceField(
        label="Format", choices=[*ANY, *RowFormat.choices], required=False
    )
    check = forms.ChoiceField(
        choices=[*ANY, ("passed", "Passed"), ("errors", "Has errors"), ("none", "Not checked")],
        required=False,
    )
    is_split = forms.ChoiceField(
        label="Splits", choices=[*ANY, ("true", "Several"), ("false", "One")], required=False
    )
    modality = forms.ChoiceField(choices=[*ANY, *Modality.choices], required=False)

    def found(self, user: Any) -> QuerySet[Dataset]:
        """Raises BadRequest."""
        asked = self.valid().narrows
        filters = asked | CHECKS.get(asked.pop("check", ""), {})
        found: QuerySet[Dataset] = DatasetFilter(
            filters, queryset=Dataset.objects.visible_to(user)
        ).qs
        return self.in_order(found)


class AdaptersAsked(lists.Asked):
    """Words alone: the other filters ask for what only a base model has."""

    orders = {"newest": ("-created_at", "-id")}


def models(user: Any, asked: Mapping[str, str], size: int = CARDS_A_PAGE) -> dict[str, Any]:
    """What ``_filters.html`` and ``registry/_model_cards.html`` show. Raises BadRequest."""
    form = ModelsAsked(asked, user).valid()
    visible = BaseModel.objects.visible_to(user)
    found = BaseModelFilter(form.narrows, queryset=visible).qs
    # A model's card may be long and its config.json is not needed here.
    shown = BaseModel.objects.defer("model_card", "metadata")
    rows, question = form.in_order(found), form.question(user, BaseModel)
    page = lists.page_of(rows, shown, asked.get("page"), question, size=size)
    # The wizard narrows by itself, so that what was asked does not tell.
    none_yet = page.paginator.count == 0 and not visible.exists()
    return {"form": form, "page": page, "none_yet": none_yet}


def adapters(user: Any, asked: Mapping[str, str]) -> Page[Any]:
    """Those with the words ``q``. Raises BadRequest."""
    form = AdaptersAsked({"q": asked.get("q", "")}).valid()
    found = AdapterFilter(form.narrows, queryset=Adapter.objects.visible_to(user)).qs
    # Their models apart: joined, SQLite may begin with the many models.
    models = Prefetch("base_model", BaseModel.objects.only("name"))
    shown = Adapter.objects.defer("model_card", "metadata").prefetch_related(models)
    rows, question = form.in_order(found), form.question(user, Adapter)
    return lists.page_of(rows, shown, asked.get("adapters"), question, size=ADAPTERS_A_PAGE)


def families(user: Any) -> list[str]:
    """Of the models that this user sees; looked for again when a model has changed."""

    def look() -> list[str]:
        named = BaseModel.objects.visible_to(user).exclude(family="").order_by("family")
        return list(named.values_list("family", flat=True).distinct()[:MOST_FAMILIES])

    found: list[str] = Question(user, of=[BaseModel]).answer("families", look)
    return found
