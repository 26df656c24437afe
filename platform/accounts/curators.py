"""What the pages of the admin do alike: rows of the curator's own projects, links, and deeds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin import helpers
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.decorators import action as unfold_action

from accounts.scoping import may_change


class CannotBeDone(Exception):
    """A deed is not possible; the message says why."""


@dataclass(frozen=True)
class Deed:
    """Something that a curator does to chosen rows. Before it is done, a page says to which ones
    it will be, and why not to the others."""

    name: str
    question: str
    # Empty where it can be done.
    why_not: Callable[[Any], str]
    # Takes the row and the curator, says what was done. Raises CannotBeDone.
    do: Callable[[Any, Any], str]


class Page(ModelAdmin):
    """A page of the admin: shows what its visitor may see, and lets be changed what may be."""

    # Counting a whole table for "30 of 100000" costs more than the page.
    show_full_result_count = False
    list_per_page = 50

    def get_queryset(self, request: HttpRequest) -> Any:
        rows = super().get_queryset(request)
        return rows.visible_to(request.user) if hasattr(rows, "visible_to") else rows

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and is_ours(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and is_ours(request, obj)

    def has_act_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """May do deeds, also where nothing may be edited by hand."""
        return request.user.has_perm(f"{self.opts.app_label}.change_{self.opts.model_name}")

    def carry_out(self, request: HttpRequest, rows: QuerySet[Any], deed: Deed) -> HttpResponse:
        """Ask first; when that has been confirmed, do it and go back."""
        # From the page of a row or from the list, where Django has put the deed's name.
        action = request.POST.get("action", "")
        back = request.get_full_path() if action else "../change/"
        reasons = {row: why_not(request, row, deed) for row in rows}
        if request.POST.get("confirmed") != deed.name:
            return TemplateResponse(
                request,
                "admin/confirm_deed.html",
                {
                    **self.admin_site.each_context(request),
                    "title": deed.name,
                    "opts": self.opts,
                    "deed": deed,
                    "possible": [row for row, reason in reasons.items() if not reason],
                    "refused": [(row, reason) for row, reason in reasons.items() if reason],
                    "action": action,
                    "back": back,
                    "checkbox_name": helpers.ACTION_CHECKBOX_NAME,
                },
            )
        for row, reason in reasons.items():
            try:
                if reason:
                    raise CannotBeDone(reason)
                self.message_user(request, deed.do(row, request.user), messages.SUCCESS)
            except CannotBeDone as error:
                self.message_user(request, f"{row}: {error}", messages.WARNING)
        return HttpResponseRedirect(back)


def on_list(deed: Deed) -> Any:
    """The deed as an action of a list."""

    @admin.action(description=deed.name, permissions=["act"])
    def act(page: Page, request: HttpRequest, rows: QuerySet[Any]) -> HttpResponse:
        return page.carry_out(request, rows, deed)

    return act


def on_page(deed: Deed, url_path: str) -> Any:
    """The deed as a button of a row's own page."""

    @unfold_action(description=deed.name, permissions=["act"], url_path=url_path)
    def act(page: Page, request: HttpRequest, object_id: str) -> HttpResponse:
        row = page.get_object(request, object_id)
        if row is None:
            raise PermissionDenied
        rows = page.get_queryset(request).filter(pk=row.pk)
        return page.carry_out(request, rows, deed)

    return act


def why_not(request: HttpRequest, row: Any, deed: Deed) -> str:
    return deed.why_not(row) if is_ours(request, row) else "You may see it, but not change it."


def is_ours(request: HttpRequest, obj: Any) -> bool:
    """May this curator change the row? Without one: any of them."""
    if not isinstance(obj, Model) or not hasattr(obj, "project_id"):
        return True
    return may_change(request.user, obj.project_id)


class ReadOnly:
    """Shown as it is: it is written by the platform alone."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def link(model: str, pk: Any, words: str) -> SafeString:
    """To the page of a row; ``model`` as in ``training_job``."""
    address = reverse(f"admin:{model}_change", args=[pk])
    return format_html('<a class="text-link" href="{}">{}</a>', address, words)


def list_link(model: str, words: str, **having: Any) -> SafeString:
    """To the list of the rows that have these values."""
    address = reverse(f"admin:{model}_changelist", query=having)
    return format_html('<a class="text-link" href="{}">{}</a>', address, words)
