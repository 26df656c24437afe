"""The registry in the admin. What follows from files is shown, not edited; new entries come through
the API or the pages, which inspect them."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import TabularInline
from unfold.widgets import PROSE_CLASSES

from accounts.curators import CannotBeDone, Deed, Page, ReadOnly, link, list_link, on_list, on_page
from registry import checks, code_reviews, model_cards, model_checks, services, stages
from registry.hub import admin as hub_admin
from registry.models import Adapter, BaseModel, CodeReview, Dataset, Entry, Stage

__all__ = ["hub_admin"]  # registers its own pages


class EntryAdmin(Page):
    search_fields: tuple[str, ...] = ("name", "description", "checksum")
    list_select_related: tuple[str, ...] = ("project",)
    autocomplete_fields: tuple[str, ...] = ("project",)
    date_hierarchy = "created_at"
    ordering = ("-created_at",)
    editable: tuple[str, ...] = ("project", "name", "description", "tags")
    # Shown beside the fields: what the row is connected with.
    lineage: tuple[str, ...] = ()

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        facts = [field.name for field in self.model._meta.fields if field.name not in self.editable]
        return [*self.lineage, *facts]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Any, form: ModelForm[Any], change: Any) -> None:
        changes = {name: form.cleaned_data[name] for name in form.changed_data}
        services.edit(obj, changes, beyond_quota=True)  # who works here also sets the quotas

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        services.delete(obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        for entry in queryset:
            services.delete(entry)

    @admin.display(description="Made by", empty_value="–")
    def made_by(self, entry: Entry) -> SafeString | None:
        """The job that a trained model or adapter comes from."""
        job_id = entry.metadata.get("job_id")
        if not job_id:
            return None
        return link("training_job", job_id, str(entry.metadata.get("job_name") or job_id))

    @admin.display(description="The card, as it reads")
    def card(self, entry: Any) -> SafeString:
        classes = " ".join(PROSE_CLASSES)
        return format_html(
            '<div class="{}">{}</div>', classes, model_cards.to_html(entry.model_card)
        )


class AdapterInline(ReadOnly, TabularInline):
    model = Adapter
    fields = ("name", "method", "r", "created_at")
    readonly_fields = fields
    extra = 0
    per_page = 10
    show_change_link = True


def move(to: Stage, model: BaseModel, curator: Any) -> str:
    try:
        stages.move(model, to)
    except stages.CannotMove as error:
        raise CannotBeDone(str(error)) from error
    return f"{model} is in {to} now."


def moving(name: str, to: Stage) -> Deed:
    return Deed(
        name=name,
        question=f"Move to {to}?",
        why_not=partial(stages.why_not, to=to),
        do=partial(move, to),
    )


PROMOTE = moving("Promote to production", Stage.PRODUCTION)
ARCHIVE = moving("Archive", Stage.ARCHIVED)


def check_model(model: BaseModel, curator: Any) -> str:
    try:
        model_checks.check(model)
    except services.CannotRegister as error:
        raise CannotBeDone(str(error)) from error
    if model.check_heard_at:
        return f"{model}: a worker is reading all files."
    if model.status == BaseModel.Status.BROKEN:
        return f"{model} is broken: {' '.join(model.file_problems[:3])}"
    return f"{model}: all files are as they were registered."


CHECK_MODEL = Deed(
    name="Check files again",
    question="Read all files again? That may take a while for large ones.",
    why_not=lambda model: "" if model.storage_path else "It has no files.",
    do=check_model,
)


@admin.register(BaseModel)
class BaseModelAdmin(EntryAdmin):
    list_display = ("name", "family", "params_b", "dtype", "stage", "status", "project")
    list_filter = ("stage", "status", "modality", "trainable", "servable", "quantized", "project")
    search_fields = ("name", "description", "family", "hf_repo_id", "checksum")
    # The stage moves by the deeds, which look at the files first.
    editable = (
        *EntryAdmin.editable,
        "family",
        "trainable",
        "servable",
        "model_card",
        "hf_repo_id",
        "hf_revision",
    )
    lineage = ("made_by", "used_by", "card")
    inlines = (AdapterInline,)
    actions = ("promote", "archive", "check_again")
    actions_detail = ("promote_this", "archive_this", "check_this")
    check_again, check_this = on_list(CHECK_MODEL), on_page(CHECK_MODEL, "check")
    promote, promote_this = on_list(PROMOTE), on_page(PROMOTE, "promote")
    archive, archive_this = on_list(ARCHIVE), on_page(ARCHIVE, "archive")

    @admin.display(description="Experiments")
    def used_by(self, model: BaseModel) -> SafeString:
        return list_link("training_experiment", "Those that start from it", base_model=model.pk)


def check(dataset: Dataset, curator: Any) -> str:
    try:
        services.check_dataset(dataset, user=curator)
    except services.CannotRegister as error:
        raise CannotBeDone(str(error)) from error
    if checks.open_checks([dataset]):
        return f"{dataset}: a worker is checking it."
    if not dataset.integrity_checked:
        return f"{dataset}: the files are there; rows of {dataset.modality} are not read."
    if not dataset.integrity_passed:
        return f"{dataset}: checked, and it did not pass. Its report says why."
    return f"{dataset}: checked, {dataset.num_samples} rows, all is well."


CHECK = Deed(
    name="Check integrity again",
    question="Read all files again? That may take a while for large ones.",
    why_not=lambda dataset: "" if dataset.storage_path else "It has no files.",
    do=check,
)


@admin.register(Dataset)
class DatasetAdmin(EntryAdmin):
    list_display = ("name", "version", "modality", "num_samples", "integrity_passed", "project")
    list_filter = ("integrity_checked", "integrity_passed", "modality", "project")
    editable = (*EntryAdmin.editable, "version", "modality")
    lineage = ("used_by",)
    actions = ("check_again",)
    actions_detail = ("check_this",)
    check_again, check_this = on_list(CHECK), on_page(CHECK, "check")

    @admin.display(description="Experiments")
    def used_by(self, dataset: Dataset) -> SafeString:
        return list_link("training_experiment", "Those that train on it", dataset=dataset.pk)


@admin.register(Adapter)
class AdapterAdmin(EntryAdmin):
    list_display = ("name", "method", "r", "base_model", "project")
    list_filter = ("method", "project")
    list_select_related = ("project", "base_model")
    editable = (*EntryAdmin.editable, "model_card")
    lineage = ("made_by", "card")


def approve(review: CodeReview, curator: Any) -> str:
    code_reviews.approve(review, actor=curator)
    return f"{review} may run now."


def withdraw(review: CodeReview, curator: Any) -> str:
    code_reviews.withdraw(review)
    return f"{review} may not run any more."


APPROVE = Deed(
    name="Approve",
    question="Let this code run in the trainers? Whoever approves it has read it.",
    why_not=lambda review: "It is approved already." if review.is_approved else "",
    do=approve,
)
WITHDRAW = Deed(
    name="Withdraw the approval",
    question="Let this code run no more? Models that need it cannot be trained then.",
    why_not=lambda review: "" if review.is_approved else "It is not approved.",
    do=withdraw,
)


@admin.register(CodeReview)
class CodeReviewAdmin(ReadOnly, Page):
    """Code that models bring along: to be read, then approved or not."""

    list_display = ("__str__", "approved_by", "approved_at", "created_at")
    list_filter = (("approved_at", admin.EmptyFieldListFilter),)
    search_fields = ("sha256", "found_in")
    list_select_related = ("approved_by",)
    readonly_fields = ("code",)
    actions = ("approve_all", "withdraw_all")
    actions_detail = ("approve_this", "withdraw_this")
    approve_all, approve_this = on_list(APPROVE), on_page(APPROVE, "approve")
    withdraw_all, withdraw_this = on_list(WITHDRAW), on_page(WITHDRAW, "withdraw")

    @admin.display(description="The code itself")
    def code(self, review: CodeReview) -> SafeString:
        return format_html("<pre>{}</pre>", code_reviews.text_of(review))
