"""Jobs and what they run on, for curators. A status is shown and never edited."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django_celery_results.admin import TaskResultAdmin as CeleryTaskResultAdmin
from django_celery_results.models import GroupResult, TaskResult
from rest_framework.exceptions import ValidationError
from unfold.admin import TabularInline

from accounts.curators import CannotBeDone, Deed, Page, ReadOnly, link, on_list, on_page
from accounts.models import Project
from api.errors import flatten, sentence
from training import comparison, recipes, services
from training.api.recipes import DefaultsSerializer
from training.comparison import Pair
from training.lifecycle import IllegalMove
from training.models import (
    FINAL,
    Artifact,
    Device,
    Experiment,
    Job,
    JobEvent,
    Measurement,
    Partition,
    Probe,
    Recipe,
    RecipeVersion,
    Worker,
)

MOST_DOTS = 500


class EventInline(ReadOnly, TabularInline):
    model = JobEvent
    fields = ["cursor", "event", "step", "message", "created_at"]
    extra = 0
    per_page = 20


class ArtifactInline(ReadOnly, TabularInline):
    model = Artifact
    fields = ["kind", "path", "size_bytes", "sha256"]
    extra = 0


def why_not_cancel(job: Job) -> str:
    if job.status in FINAL:
        return f"It is {job.status} already."
    return "It has been asked to stop." if job.cancel_requested_at else ""


def cancel(job: Job, curator: Any) -> str:
    try:
        services.cancel(job, actor=curator)
    except IllegalMove as error:
        raise CannotBeDone(str(error)) from error
    if job.status in FINAL:
        return f"{job} is cancelled."
    return f"{job} writes a checkpoint and stops then."


CANCEL = Deed(
    name="Cancel job",
    question="Cancel? One that is training writes a checkpoint first.",
    why_not=why_not_cancel,
    do=cancel,
)


@admin.register(Job)
class JobAdmin(ReadOnly, Page):
    list_display = ["name", "status", "step", "max_steps", "project", "created_by", "created_at"]
    list_filter = ["status", "project", "experiment__recipe__method"]
    list_select_related = ["project", "created_by"]
    search_fields = ["name", "id"]
    date_hierarchy = "created_at"
    # Before the other fields: where it comes from, and what it has made.
    lineage = ["experiment", "base_model", "dataset", "made"]
    inlines = [EventInline, ArtifactInline]
    actions = ["cancel"]
    actions_detail = ["cancel_this"]
    cancel, cancel_this = on_list(CANCEL), on_page(CANCEL, "cancel")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        rest = [f.name for f in Job._meta.fields if f.name not in ("name", "status", "experiment")]
        return ["name", "status", *self.lineage, *rest]

    def get_queryset(self, request: HttpRequest) -> Any:
        rows = super().get_queryset(request)
        match = request.resolver_match
        if match and match.url_name == "training_job_change":
            return rows.with_everything()
        return rows

    @admin.display(description="Base model")
    def base_model(self, job: Job) -> SafeString:
        model = job.experiment.base_model
        return link("registry_basemodel", model.pk, str(model))

    @admin.display(description="Dataset")
    def dataset(self, job: Job) -> SafeString:
        dataset = job.experiment.dataset
        return link("registry_dataset", dataset.pk, str(dataset))

    @admin.display(description="Has made", empty_value="–")
    def made(self, job: Job) -> SafeString | None:
        if not job.result:
            return None
        kind = job.result["kind"].replace("_", "")
        return link(f"registry_{kind}", job.result["id"], job.result["name"])


class JobInline(ReadOnly, TabularInline):
    model = Job
    fields = ["name", "status", "step", "max_steps", "created_at", "finished_at"]
    extra = 0
    per_page = 20
    show_change_link = True


@admin.register(Experiment)
class ExperimentAdmin(ReadOnly, Page):
    list_display = ["name", "base_model", "dataset", "recipe", "project", "created_at"]
    list_filter = ["recipe__method", "project"]
    list_select_related = ["base_model", "dataset", "recipe", "project"]
    search_fields = ["name", "base_model__name", "dataset__name"]
    date_hierarchy = "created_at"
    inlines = [JobInline]


class RecipeForm(forms.ModelForm):  # type: ignore[type-arg]
    """Asks the defaults the same questions as the API does."""

    def clean_defaults(self) -> dict[str, Any]:
        body = DefaultsSerializer(data=self.cleaned_data["defaults"])
        try:
            body.is_valid(raise_exception=True)
        except ValidationError as error:
            raise forms.ValidationError(sentence(flatten(error.detail))) from error
        return {name: dict(settings) for name, settings in body.validated_data.items()}


class VersionInline(ReadOnly, TabularInline):
    model = RecipeVersion
    verbose_name_plural = "Earlier versions"
    fields = ["version", "method", "modality", "supports_quantized", "defaults", "replaced_at"]
    readonly_fields = fields
    extra = 0


def clone(recipe: Recipe, curator: Any) -> str:
    copy = recipes.clone(recipe, project=recipe.project or Project.objects.default())
    return f"{copy} is in {copy.project} now."


CLONE = Deed(
    name="Clone recipe",
    question="Make a copy that can be changed?",
    why_not=lambda recipe: "",
    do=clone,
)


@admin.register(Recipe)
class RecipeAdmin(Page):
    form = RecipeForm
    list_display = [
        "display_name", "method", "modality", "version", "project", "built_in", "updated_at",
    ]  # fmt: skip
    list_filter = ["method", "modality", "built_in", "project"]
    list_select_related = ["project"]
    search_fields = ["name", "display_name", "description"]
    prepopulated_fields = {"name": ["display_name"]}
    autocomplete_fields = ["project"]
    readonly_fields = ["built_in", "version"]
    inlines = [VersionInline]
    actions = ["clone"]
    actions_detail = ["clone_this"]
    clone, clone_this = on_list(CLONE), on_page(CLONE, "clone")

    def get_readonly_fields(self, request: HttpRequest, obj: Recipe | None = None) -> list[str]:
        return [*self.readonly_fields, *(["project"] if obj else [])]

    def get_prepopulated_fields(self, request: HttpRequest, obj: Recipe | None = None) -> Any:
        return {} if obj else self.prepopulated_fields

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and not ships(obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and not ships(obj)

    def save_model(
        self, request: HttpRequest, obj: Recipe, form: forms.ModelForm[Recipe], change: Any
    ) -> None:
        if change:
            recipes.edit(obj, {name: form.cleaned_data[name] for name in form.changed_data})
        else:
            super().save_model(request, obj, form, change)


def ships(obj: Any) -> bool:
    return isinstance(obj, Recipe) and obj.built_in


class WorkerInline(ReadOnly, TabularInline):
    model = Worker
    fields = [
        "name", "seen_at", "started_at", "cpu_threads", "cpu_gflops", "host_memory_mb",
        "host_memory_free_mb", "driver",
    ]  # fmt: skip
    extra = 0
    show_change_link = True


@admin.register(Partition)
class PartitionAdmin(Page):
    list_display = ["name", "description", "created_at"]
    search_fields = ["name", "description"]
    inlines = [WorkerInline]


class DeviceInline(ReadOnly, TabularInline):
    model = Device
    fields = [
        "kind", "index", "name", "gpu_type", "memory_mb", "memory_free_mb", "compute_capability",
        "card_index",
    ]  # fmt: skip
    extra = 0


@admin.register(Worker)
class WorkerAdmin(ReadOnly, Page):
    list_display = ["name", "partition", "seen_at", "started_at"]
    list_filter = ["partition"]
    list_select_related = ["partition"]
    search_fields = ["name"]
    inlines = [DeviceInline]


@admin.register(Measurement)
class MeasurementAdmin(ReadOnly, Page):
    """With a picture of what was said against what was measured, of the rows that the filters
    leave."""

    list_display = [
        "name", "attempt", "card", "method", "strategy", "memory_error", "time_error", "of_probe",
        "project", "created_at",
    ]  # fmt: skip
    list_filter = ["card", "method", "strategy", "of_probe", "project"]
    list_select_related = ["project"]
    search_fields = ["name", "model_name"]
    date_hierarchy = "created_at"
    list_before_template = "admin/training/_comparison.html"

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        answer = super().changelist_view(request, extra_context)
        if found := getattr(answer, "context_data", {}).get("cl"):
            answer.context_data |= compared(found.queryset[:MOST_DOTS])
        return answer

    @admin.display(description="Memory said", empty_value="–")
    def memory_error(self, row: Measurement) -> str:
        return f"{100 * (row.predicted_peak_mb / row.measured_peak_mb - 1):+.0f} %"

    @admin.display(description="Time said", empty_value="–")
    def time_error(self, row: Measurement) -> str | None:
        if not row.measured_step_ms:
            return None
        return f"{100 * (row.predicted_step_ms / row.measured_step_ms - 1):+.0f} %"


def compared(rows: Any) -> dict[str, Any]:
    """The picture and the table of these measurements."""
    memory, time = [], []
    for row in rows:
        kind = f"{row.card}, {row.method}, {row.strategy}"
        memory.append(Pair(kind, row.name, row.predicted_peak_mb, row.measured_peak_mb))
        if row.measured_step_ms:
            time.append(Pair(kind, row.name, row.predicted_step_ms, row.measured_step_ms))
    plots = comparison.plot("Peak memory", "MiB", memory), comparison.plot("A step", "ms", time)
    return {
        "plots": [plot for plot in plots if plot],
        "kinds": {
            "headers": ["Card, method, strategy", "Runs", "Memory", "Time"],
            "rows": [
                [row.kind, row.runs, *(_percent(error) for error in (row.memory, row.time))]
                for row in comparison.table(memory, time)
            ],
        },
    }


def _percent(error: float | None) -> str:
    return "–" if error is None else f"{error:.1f} %"


@admin.register(Probe)
class ProbeAdmin(ReadOnly, Page):
    list_display = ["base_model", "recipe", "status", "project", "created_by", "created_at"]
    list_filter = ["outcome", "project"]
    list_select_related = ["base_model", "recipe", "project", "created_by", "job"]
    search_fields = ["base_model__name"]
    date_hierarchy = "created_at"


# Celery's own pages, in the dress of the others.
admin.site.unregister(TaskResult)
admin.site.unregister(GroupResult)


@admin.register(TaskResult)
class TaskResultAdmin(ReadOnly, Page, CeleryTaskResultAdmin):
    list_display = ["task_id", "task_name", "status", "worker", "date_created", "date_done"]
    list_filter = ["status", "task_name", "worker"]
    search_fields = ["task_id", "task_name", "task_args"]
