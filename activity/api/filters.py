from __future__ import annotations

from typing import Any

from accounts.api.filters import ProjectFilter, UserFilter
from activity.models import Activity, ActivityQuerySet, EntityType, EventType
from api.filters import FilterSet, KnownChoiceFilter, Ordering, SearchFilter, StrictBooleanFilter


class ActivityFilter(FilterSet):
    event_type = KnownChoiceFilter(choices=EventType.choices)
    entity_type = KnownChoiceFilter(choices=EntityType.choices)
    user_id = UserFilter()
    project_id = ProjectFilter()
    unread_only = StrictBooleanFilter(method="only_unread")
    search = SearchFilter(in_fields=("title", "message"))
    q = SearchFilter(in_fields=("title", "message"))
    # The cursor counts in the order of creation, and has the index.
    ordering = Ordering(created_at="cursor")

    class Meta:
        model = Activity
        fields: list[str] = []

    def only_unread(self, qs: ActivityQuerySet, name: str, value: Any) -> ActivityQuerySet:
        return qs.unread_by(self.request.user) if value else qs
