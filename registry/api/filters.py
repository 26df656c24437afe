"""What the lists of the registry can be narrowed to."""

from __future__ import annotations

from django_filters import rest_framework as filters

from accounts.api.filters import ProjectFilter
from api.filters import FilterSet, KnownChoiceFilter, Ordering, SearchFilter, StrictBooleanFilter
from registry.models import Adapter, BaseModel, Dataset, Modality, Stage
from registry.search import IndexedSearchFilter


class BaseModelFilter(FilterSet):
    family = filters.CharFilter()
    modality = KnownChoiceFilter(choices=Modality.choices)
    stage = KnownChoiceFilter(choices=Stage.choices)
    trainable = StrictBooleanFilter()
    servable = StrictBooleanFilter()
    search = IndexedSearchFilter(in_fields=("name", "description", "family"))
    q = IndexedSearchFilter(in_fields=("name", "description", "family"))
    project = ProjectFilter()
    ordering = Ordering(
        "name", "family", "stage", "params_b", "size_bytes", "created_at", "updated_at"
    )

    class Meta:
        model = BaseModel
        fields: list[str] = []


class DatasetFilter(FilterSet):
    modality = KnownChoiceFilter(choices=Modality.choices)
    search = IndexedSearchFilter(in_fields=("name", "description"))
    q = IndexedSearchFilter(in_fields=("name", "description"))
    project = ProjectFilter()
    ordering = Ordering("name", "version", "size_bytes", "num_samples", "created_at", "updated_at")

    class Meta:
        model = Dataset
        fields: list[str] = []


class AdapterFilter(FilterSet):
    base_model = filters.UUIDFilter(field_name="base_model_id")
    method = filters.CharFilter()
    search = SearchFilter(in_fields=("name", "description"))
    q = SearchFilter(in_fields=("name", "description"))
    project = ProjectFilter()
    ordering = Ordering("name", "method", "size_bytes", "created_at", "updated_at")

    class Meta:
        model = Adapter
        fields: list[str] = []
