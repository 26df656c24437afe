"""``/activity``: the feed with filters, the bell's list, and marking what was read."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.staticfiles import finders
from django.core.exceptions import BadRequest
from django.core.paginator import Paginator
from django.core.validators import MaxValueValidator
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import Resolver404, resolve
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from accounts.models import Project, User
from accounts.questions import Question
from accounts.scoping import known_to
from activity import news, reading
from activity.context import bell_of
from activity.models import EVENT_WORDS, Activity, EntityType, ReadMark, ReadUpTo, Status
from api.pages import render_page, wants_part
from api.pagination import as_whole_number

ROWS_A_PAGE = 50
ROWS_IN_BELL = 8


def _day() -> forms.DateField:
    widget = forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    last = MaxValueValidator(date(9000, 1, 1))
    return forms.DateField(
        required=False, widget=widget, input_formats=["%Y-%m-%d"], validators=[last]
    )


def _midnight(day: date) -> datetime:
    """When a day begins, for the index of `created_at`."""
    return datetime.combine(day, time.min, tzinfo=UTC)


class FeedFilter(forms.Form):
    """Built for one person: the projects and people that they may ask about."""

    q = forms.CharField(
        label="Words", required=False, max_length=200, widget=forms.TextInput({"type": "search"})
    )
    event_type = forms.ChoiceField(
        label="Event", choices=[("", "Any event"), *EVENT_WORDS], required=False
    )
    entity_type = forms.ChoiceField(
        label="About", choices=[("", "Everything"), *EntityType.choices], required=False
    )
    status = forms.ChoiceField(
        label="Kind", choices=[("", "Any kind"), *Status.choices], required=False
    )
    project = forms.ModelChoiceField(Project.objects.none(), required=False, empty_label="All")
    user = forms.ModelChoiceField(
        User.objects.none(), label="Person", required=False, empty_label="Anybody"
    )
    since, until = _day(), _day()
    unread = forms.BooleanField(label="Unread only", required=False)

    def __init__(self, data: Any, *, asker: Any) -> None:
        super().__init__(data)
        self.asker = asker
        self.fields["project"].queryset = Project.objects.visible_to(asker)  # type: ignore[attr-defined]
        self.fields["user"].queryset = known_to(asker).order_by("username")  # type: ignore[attr-defined]

    def rows(self) -> Any:
        """What was asked for. Raises BadRequest for a filter that does not exist."""
        if not self.is_valid():
            raise BadRequest(self.errors.as_text())
        asked = self.cleaned_data
        rows = Activity.objects.visible_to(self.asker)
        for field in ("event_type", "entity_type", "status", "project", "user"):
            if asked[field]:
                rows = rows.filter(**{field: asked[field]})
        if words := asked["q"]:
            rows = rows.containing(words)
        if asked["since"]:
            rows = rows.filter(created_at__gte=_midnight(asked["since"]))
        if asked["until"]:
            rows = rows.filter(created_at__lt=_midnight(asked["until"] + timedelta(days=1)))
        return rows.unread_by(self.asker) if asked["unread"] else rows


@login_required
@require_safe
def activity_list(request: HttpRequest) -> HttpResponse:
    form = FeedFilter(request.GET, asker=request.user)
    rows = form.rows()
    question = Question(
        request.user, *sorted(form.cleaned_data.items()), of=(Activity, ReadMark, ReadUpTo)
    )
    paginator = Paginator(rows.values_list("pk", flat=True), ROWS_A_PAGE)
    paginator.count = question.answer("total", rows.count)
    page = paginator.get_page(request.GET.get("page"))
    ids = question.answer(("page", page.number), lambda: list(page.object_list))
    page.object_list = Activity.objects.filter(pk__in=ids).with_read(request.user)
    context = {"form": form, "page": page}
    return render_page(request, "activity/activity_list.html", context, part="rows")


@never_cache
@login_required
@require_safe
def bell(request: HttpRequest) -> HttpResponse:
    """The latest lines, for the list below the bell."""
    visible = Activity.objects.visible_to(request.user)
    latest = visible.few(0, ROWS_IN_BELL).with_read(request.user)
    return render(
        request,
        "activity/_bell_list.html",
        {"activities": latest, "bell": bell_of(request.user), "mark": True},
    )


@never_cache
@login_required
@require_safe
def news_after(request: HttpRequest) -> HttpResponse:
    """What the socket would have said after ``?after=``, for pages whose sockets are blocked."""
    try:
        cursor = as_whole_number(request.GET.get("after", ""))
    except ValueError as error:
        raise BadRequest(f"after: {error}") from error
    said, cursor = news.after(request.user, cursor)
    return JsonResponse({"news": said, "cursor": cursor})


@login_required
@require_POST
def read_one(request: HttpRequest, pk: UUID) -> HttpResponse:
    activity = get_object_or_404(Activity.objects.visible_to(request.user), pk=pk)
    reading.mark(Activity.objects.filter(pk=activity.pk), request.user)
    return _back(request)


@login_required
@require_POST
def read_all(request: HttpRequest) -> HttpResponse:
    count = reading.mark_all(request.user)
    if not wants_part(request):
        messages.success(
            request, f"{count} marked as read." if count else "All of it was read already."
        )
    return _back(request)


@login_required
@require_POST
def visited(request: HttpRequest) -> HttpResponse:
    """A person looks at the page of something: what the feed tells of it, they have seen."""
    try:
        page = resolve(request.POST.get("path", ""))
    except Resolver404 as error:
        raise BadRequest("path: there is no such page") from error
    if page.url_name in EntityType.values and "pk" in page.kwargs:
        about = Activity.objects.visible_to(request.user)
        reading.mark(
            about.filter(entity_type=page.url_name, entity_id=page.kwargs["pk"]), request.user
        )
    return HttpResponse(status=204)


@require_safe
def service_worker(request: HttpRequest) -> HttpResponse:
    """A browser asks for it again and again: it must be able to tell a new one at once."""
    place = finders.find("js/service-worker.js")
    assert isinstance(place, str), "it is one of our own files"
    script = Path(place).read_bytes()
    return HttpResponse(
        script, headers={"Content-Type": "text/javascript", "Cache-Control": "no-cache"}
    )


def _back(request: HttpRequest) -> HttpResponse:
    """To the list as it was filtered; a script gets the bell's list again."""
    if wants_part(request):
        return redirect("activity-bell")
    place = request.POST.get("next", "")
    return redirect(place if url_has_allowed_host_and_scheme(place, None) else "activity")
