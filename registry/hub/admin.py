"""Transfers, tokens and keys in the admin. A status is shown and never edited, a token not shown.

Imported by `registry.admin`, where Django looks.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponseRedirect
from django.urls import reverse
from django.utils.safestring import SafeString
from unfold.admin import TabularInline
from unfold.decorators import action as unfold_action

from accounts.curators import CannotBeDone, Deed, Page, ReadOnly, link, on_list, on_page
from registry.hub import services, tokens
from registry.hub.lifecycle import IllegalMove
from registry.hub.models import BucketKey, HubToken, Transfer, TransferFile


class FileInline(ReadOnly, TabularInline):
    model = TransferFile
    fields = ["path", "size_bytes", "sha256"]
    extra = 0
    per_page = 20


def _why_not(verb: str, transfer: Transfer) -> str:
    return "" if transfer.status in services.POSSIBLE[verb] else f"It is {transfer.status}."


def _do(verb: str, transfer: Transfer, curator: Any) -> str:
    try:
        services.VERBS[verb](transfer, actor=curator)
    except IllegalMove as error:
        raise CannotBeDone(str(error)) from error
    return f"The transfer of {transfer} is {transfer.status} now."


def _deed(verb: str, question: str) -> Deed:
    return Deed(
        name=f"{verb.capitalize()} transfer",
        question=question,
        why_not=partial(_why_not, verb),
        do=partial(_do, verb),
    )


PAUSE = _deed("pause", "Pause? What has come is kept.")
RESUME = _deed("resume", "Resume? It goes on from where it stopped.")
RETRY = _deed("retry", "Try again?")
CANCEL = _deed("cancel", "Cancel? What has come is removed.")


@admin.register(Transfer)
class TransferAdmin(ReadOnly, Page):
    list_display = ["__str__", "kind", "status", "percent", "project", "created_at"]
    list_filter = ["status", "kind", "project"]
    list_select_related = ["project"]
    search_fields = ["hf_repo_id", "url", "name", "id"]
    date_hierarchy = "created_at"
    inlines = [FileInline]
    actions = ["pause", "resume", "retry", "cancel"]
    actions_list = ["start_import"]
    actions_detail = ["pause_this", "resume_this", "retry_this", "cancel_this"]
    pause, pause_this = on_list(PAUSE), on_page(PAUSE, "pause")
    resume, resume_this = on_list(RESUME), on_page(RESUME, "resume")
    retry, retry_this = on_list(RETRY), on_page(RETRY, "retry")
    cancel, cancel_this = on_list(CANCEL), on_page(CANCEL, "cancel")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        first = ["hf_repo_id", "kind", "status", "made"]
        return [*first, *(f.name for f in Transfer._meta.fields if f.name not in first)]

    @admin.display(description="Has made", empty_value="–")
    def made(self, transfer: Transfer) -> SafeString | None:
        result = transfer.result
        if not result or result["kind"] == "commit":
            return None
        kind = result["kind"].replace("_", "")
        return link(f"registry_{kind}", result["id"], result["name"])

    @unfold_action(description="Start import", url_path="start-import")
    def start_import(self, request: HttpRequest) -> HttpResponseRedirect:
        """The page that asks the hub first is the same for everybody."""
        return HttpResponseRedirect(reverse("transfer-new"))


class _Secret(Page):
    """To see who has one, and to remove it. A new one is set on the page of tokens and keys."""

    list_select_related = ["project", "created_by"]
    actions_list = ["set_token"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def delete_model(self, request: HttpRequest, obj: HubToken | BucketKey) -> None:
        tokens.remove(obj)

    @unfold_action(description="Set a token", url_path="set-token")
    def set_token(self, request: HttpRequest) -> HttpResponseRedirect:
        return HttpResponseRedirect(reverse("hub-tokens"))


@admin.register(HubToken)
class HubTokenAdmin(_Secret):
    list_display = ["project", "created_by", "updated_at"]
    search_fields = ["project__name"]
    fields = ["project", "created_by", "created_at", "updated_at"]
    readonly_fields = fields


@admin.register(BucketKey)
class BucketKeyAdmin(_Secret):
    list_display = ["__str__", "access_key_id", "created_by", "updated_at"]
    search_fields = ["project__name", "endpoint_url", "access_key_id"]
    fields = [
        "project", "endpoint_url", "access_key_id", "created_by", "created_at", "updated_at",
    ]  # fmt: skip
    readonly_fields = fields
