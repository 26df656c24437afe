"""What the lists of the registry can be narrowed to."""

from __future__ import annotations

from django_filters import rest_framework as filters

from accounts.api.filters import ProjectFilter
from api.filters import FilterSet, KnownChoiceFilter, Ordering, StrictBooleanFilter
from registry.models import (
    Adapter,
    BaseModel,
    Dataset,
    DatasetTask,
    Modality,
    RowFormat,
    Stage,
    Upload,
)
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
    row_format = KnownChoiceFilter(choices=RowFormat.choices)
    is_split = StrictBooleanFilter()
    integrity_checked = StrictBooleanFilter()
    integrity_passed = StrictBooleanFilter()
    search = IndexedSearchFilter(in_fields=("name", "description"))
    q = IndexedSearchFilter(in_fields=("name", "description"))
    project = ProjectFilter()
    ordering = Ordering("name", "version", "size_bytes", "num_samples", "created_at", "updated_at")

    class Meta:
        model = Dataset
        fields: list[str] = []


class DatasetVersionFilter(FilterSet):
    ordering = Ordering("version", "num_samples", "created_at", "updated_at")

    class Meta:
        model = Dataset
        fields: list[str] = []


class DatasetTaskFilter(FilterSet):
    kind = KnownChoiceFilter(choices=DatasetTask.Kind.choices)
    status = KnownChoiceFilter(choices=DatasetTask.Status.choices)
    ordering = Ordering("kind", "status", "created_at", "finished_at")

    class Meta:
        model = DatasetTask
        fields: list[str] = []


class AdapterFilter(FilterSet):
    base_model = filters.UUIDFilter(field_name="base_model_id")
    method = filters.CharFilter()
    search = IndexedSearchFilter(in_fields=("name", "description"))
    q = IndexedSearchFilter(in_fields=("name", "description"))
    project = ProjectFilter()
    ordering = Ordering("name", "method", "size_bytes", "created_at", "updated_at")

    class Meta:
        model = Adapter
        fields: list[str] = []


class UploadFilter(FilterSet):
    project = ProjectFilter()
    ordering = Ordering("file_name", "size_bytes", "created_at", "expires_at")

    class Meta:
        model = Upload
        fields: list[str] = []
