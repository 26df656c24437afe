"""Filters by project and by person. One that the asker cannot see is not known: 400."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest
from django_filters import rest_framework as filters

from accounts.models import Membership, Project, Token
from accounts.scoping import known_to
from api.filters import FilterSet, KnownChoiceFilter, Ordering, SearchFilter

UNKNOWN_PROJECT = "There is no such project, or not for you."
UNKNOWN_PERSON = "There is no such person, or not for you."


class ProjectFilter(filters.ModelChoiceFilter):
    """``?project=<id>``: one of the asker's projects."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("field_name", "project")
        super().__init__(
            queryset=_projects,
            error_messages={"invalid_choice": UNKNOWN_PROJECT},
            **kwargs,
        )


class UserFilter(filters.ModelChoiceFilter):
    """``?user_id=<id>``: the asker or somebody in one of the asker's projects."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("field_name", "user")
        super().__init__(
            queryset=_people,
            error_messages={"invalid_choice": UNKNOWN_PERSON},
            **kwargs,
        )


# Nobody asks (None) where only the schema is made.


def _projects(request: HttpRequest | None) -> Any:
    return Project.objects.visible_to(request.user if request else AnonymousUser())


def _people(request: HttpRequest | None) -> Any:
    return known_to(request.user if request else AnonymousUser())


class ProjectListFilter(FilterSet):
    search = SearchFilter(in_fields=("name", "description"))
    q = SearchFilter(in_fields=("name", "description"))
    ordering = Ordering("name", "created_at", "updated_at")

    class Meta:
        model = Project
        fields: list[str] = []


class MemberFilter(FilterSet):
    role = KnownChoiceFilter(choices=Membership.Role.choices)
    search = SearchFilter(in_fields=("user__username",))
    q = SearchFilter(in_fields=("user__username",))
    ordering = Ordering("role", username="user__username")

    class Meta:
        model = Membership
        fields: list[str] = []


class TokenFilter(FilterSet):
    search = SearchFilter(in_fields=("name",))
    q = SearchFilter(in_fields=("name",))
    ordering = Ordering("name", created_at="created", expires_at="expiry")

    class Meta:
        model = Token
        fields: list[str] = []
