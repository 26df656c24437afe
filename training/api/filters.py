from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django_filters import rest_framework as filters

from accounts.api.filters import ProjectFilter
from api.filters import (
    FilterSet,
    KnownChoiceFilter,
    KnownChoicesFilter,
    Ordering,
    SearchFilter,
    WholeNumberFilter,
)
from training import curves
from training.models import (
    Artifact,
    Checkpoint,
    Experiment,
    Generation,
    Job,
    JobEvent,
    Method,
    Metric,
    Partition,
    Probe,
    Recipe,
    RecipeVersion,
    Status,
)
from training.models.generations import STATUSES


class JobFilter(FilterSet):
    status = KnownChoicesFilter(choices=Status.choices)
    project = ProjectFilter()
    base_model_id = filters.UUIDFilter(field_name="experiment__base_model_id")
    dataset_id = filters.UUIDFilter(field_name="experiment__dataset_id")
    search = SearchFilter(in_fields=("name",))
    q = SearchFilter(in_fields=("name",))
    ordering = Ordering(
        *("name", "status", "priority", "created_at", "updated_at"),
        *("queued_at", "started_at", "finished_at"),
    )

    class Meta:
        model = Job
        fields: list[str] = []


class ProbeFilter(FilterSet):
    project = ProjectFilter()
    base_model_id = filters.UUIDFilter(field_name="base_model_id")
    dataset_id = filters.UUIDFilter(field_name="dataset_id")
    ordering = Ordering("created_at", "finished_at")

    class Meta:
        model = Probe
        fields: list[str] = []


class GenerationFilter(FilterSet):
    status = KnownChoicesFilter(choices=[(status, status) for status in STATUSES])
    project = ProjectFilter()
    job_id = filters.UUIDFilter(field_name="job_id")
    base_model_id = filters.UUIDFilter(field_name="base_model_id")
    tuned_model_id = filters.UUIDFilter(field_name="tuned_model_id")
    adapter_id = filters.UUIDFilter(field_name="adapter_id")
    ordering = Ordering("created_at", "finished_at")

    class Meta:
        model = Generation
        fields: list[str] = []


class ExperimentFilter(FilterSet):
    project = ProjectFilter()
    base_model_id = filters.UUIDFilter(field_name="base_model_id")
    dataset_id = filters.UUIDFilter(field_name="dataset_id")
    search = SearchFilter(in_fields=("name",))
    q = SearchFilter(in_fields=("name",))
    ordering = Ordering("name", "created_at")

    class Meta:
        model = Experiment
        fields: list[str] = []


class RecipeFilter(FilterSet):
    method = KnownChoiceFilter(choices=Method.choices)
    project = ProjectFilter()
    search = SearchFilter(in_fields=("name", "display_name", "description"))
    q = SearchFilter(in_fields=("name", "display_name", "description"))
    ordering = Ordering("name", "display_name", "method", "version", "created_at", "updated_at")

    class Meta:
        model = Recipe
        fields: list[str] = []


class RecipeVersionFilter(FilterSet):
    ordering = Ordering("version")

    class Meta:
        model = RecipeVersion
        fields: list[str] = []


class PartitionFilter(FilterSet):
    search = SearchFilter(in_fields=("name", "description"))
    q = SearchFilter(in_fields=("name", "description"))
    ordering = Ordering("name", "created_at")

    class Meta:
        model = Partition
        fields: list[str] = []


class MetricFilter(FilterSet):
    after = WholeNumberFilter(
        field_name="cursor", lookup_expr="gt", label="Only rows with a higher cursor."
    )
    points = WholeNumberFilter(
        method="thinned", label="At most so many rows, evenly, with the last one."
    )
    ordering = Ordering("step", "logged_at")

    class Meta:
        model = Metric
        fields: list[str] = []

    def thinned(self, rows: QuerySet[Any], name: str, points: int) -> QuerySet[Any]:
        return curves.thinned(rows, points)


class JobEventFilter(FilterSet):
    after = WholeNumberFilter(
        field_name="cursor", lookup_expr="gt", label="Only events with a higher cursor."
    )
    ordering = Ordering("cursor", "created_at")

    class Meta:
        model = JobEvent
        fields: list[str] = []


class CheckpointFilter(FilterSet):
    ordering = Ordering("step", "size_bytes", "created_at")

    class Meta:
        model = Checkpoint
        fields: list[str] = []


class ArtifactFilter(FilterSet):
    ordering = Ordering("kind", "path", "size_bytes", "created_at")

    class Meta:
        model = Artifact
        fields: list[str] = []
