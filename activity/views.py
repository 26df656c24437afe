"""``/activity``: the feed with filters, and marking what was read."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import BadRequest
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST, require_safe

from activity.api.views import mark_read
from activity.models import Activity, EntityType, Status
from api.pages import render_page

ROWS_A_PAGE = 50


class FeedFilter(forms.Form):
    entity_type = forms.ChoiceField(
        label="About", choices=[("", "Everything"), *EntityType.choices], required=False
    )
    status = forms.ChoiceField(
        label="Kind", choices=[("", "Any kind"), *Status.choices], required=False
    )
    unread = forms.BooleanField(label="Unread only", required=False)

    def of(self, user: Any) -> Any:
        """The rows that this user asked for. Raises BadRequest for a filter that does not exist."""
        if not self.is_valid():
            raise BadRequest(self.errors.as_text())
        rows = Activity.objects.visible_to(user).with_read(user)
        for field in ("entity_type", "status"):
            if value := self.cleaned_data[field]:
                rows = rows.filter(**{field: value})
        return rows.filter(read=False) if self.cleaned_data["unread"] else rows


@login_required
@require_safe
def activity_list(request: HttpRequest) -> HttpResponse:
    form = FeedFilter(request.GET)
    page = Paginator(form.of(request.user), ROWS_A_PAGE).get_page(request.GET.get("page"))
    context = {"form": form, "page": page}
    return render_page(request, "activity/activity_list.html", context, part="rows")


@login_required
@require_POST
def read_one(request: HttpRequest, pk: UUID) -> HttpResponse:
    activity = get_object_or_404(Activity.objects.visible_to(request.user), pk=pk)
    mark_read(Activity.objects.filter(pk=activity.pk), request.user.pk)
    return _back(request)


@login_required
@require_POST
def read_all(request: HttpRequest) -> HttpResponse:
    count = mark_read(Activity.objects.visible_to(request.user), request.user.pk)
    messages.success(
        request, f"{count} marked as read." if count else "All of it was read already."
    )
    return _back(request)


def _back(request: HttpRequest) -> HttpResponse:
    """To the list as it was filtered."""
    place = request.POST.get("next", "")
    return redirect(place if url_has_allowed_host_and_scheme(place, None) else "activity")
