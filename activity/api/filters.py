from __future__ import annotations

from typing import Any

from django_filters import rest_framework as filters

from accounts.api.filters import ProjectFilter, UserFilter
from activity.models import Activity, ActivityQuerySet, EntityType, EventType, Status
from api.filters import (
    FilterSet,
    KnownChoiceFilter,
    Ordering,
    SearchFilter,
    StrictBooleanFilter,
    WholeNumberFilter,
)


class ActivityFilter(FilterSet):
    event_type = KnownChoiceFilter(choices=EventType.choices)
    entity_type = KnownChoiceFilter(choices=EntityType.choices)
    status = KnownChoiceFilter(choices=Status.choices)
    user_id = UserFilter()
    project_id = ProjectFilter()
    unread_only = StrictBooleanFilter(method="only_unread")
    search = SearchFilter(in_fields=("title", "message"))
    q = SearchFilter(in_fields=("title", "message"))
    after = WholeNumberFilter(
        field_name="cursor", lookup_expr="gt", label="A cursor: only what came after it."
    )
    created_after = filters.IsoDateTimeFilter(field_name="created_at", lookup_expr="gte")
    created_before = filters.IsoDateTimeFilter(field_name="created_at", lookup_expr="lt")
    # The cursor counts in the order of creation, and has the index.
    ordering = Ordering(created_at="cursor")

    class Meta:
        model = Activity
        fields: list[str] = []

    def only_unread(self, qs: ActivityQuerySet, name: str, value: Any) -> ActivityQuerySet:
        return qs.unread_by(self.request.user) if value else qs
