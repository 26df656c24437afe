"""GET and POST /api/activity, and the read marks."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any
from uuid import UUID

from django.db import transaction
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import mixins, viewsets
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import changes
from activity.api import examples
from activity.api.filters import ActivityFilter
from activity.api.serializers import (
    ActivitySerializer,
    MarkAllReadSerializer,
    MarkedReadSerializer,
)
from activity.models import Activity, ReadMark
from api.views import UUIDLookup


@extend_schema_view(
    list=extend_schema(examples=examples.ACTIVITY),
    create=extend_schema(examples=examples.ACTIVITY_CREATE),
)
class ActivityViewSet(
    UUIDLookup,
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    mixins.CreateModelMixin,
    viewsets.GenericViewSet[Activity],
):
    serializer_class = ActivitySerializer
    filterset_class = ActivityFilter
    queryset = Activity.objects.none()  # where only the schema is made, nobody asks
    plural = "activities"
    limit = 100
    plain_rows = True

    def get_queryset(self) -> Any:
        return Activity.objects.visible_to(self.request.user).with_read(self.request.user)

    def list_state(self) -> Hashable:
        return changes.state("activity_activity", "activity_readmark", *changes.RIGHTS)

    @transaction.atomic
    def perform_create(self, serializer: Any) -> None:
        serializer.save()

    @extend_schema(request=None)
    @action(detail=True, methods=["post"], url_path="mark-read")
    def mark_read(self, request: Request, pk: str) -> Response:
        """One activity, for whoever asks."""
        activity = self.get_object()
        ReadMark.objects.get_or_create(activity=activity, user_id=reader(request))
        activity.read = True
        return Response(self.get_serializer(activity).data)

    @extend_schema(
        request=MarkAllReadSerializer,
        responses=MarkedReadSerializer,
        examples=examples.MARK_ALL_READ,
    )
    @action(detail=False, methods=["post"], url_path="mark-all-read")
    def mark_all_read(self, request: Request) -> Response:
        """All that a person may see, or only those of one project."""
        body = MarkAllReadSerializer(data=request.data, context=self.get_serializer_context())
        body.is_valid(raise_exception=True)
        person = body.validated_data.get("user") or request.user
        if person != request.user and not request.user.is_superuser:
            raise PermissionDenied
        unread = Activity.objects.visible_to(person)
        if project := body.validated_data.get("project"):
            unread = unread.filter(project=project)
        return Response({"marked_read": mark_read(unread, person.pk)})


def reader(request: Request) -> UUID:
    """Who is asking: somebody, the permissions have seen to that."""
    assert request.user.pk is not None
    return request.user.pk


@transaction.atomic
def mark_read(activities: Any, reader_id: Any) -> int:
    """Mark all of these as read for one person; how many were unread."""
    unread = list(activities.exclude(read_marks__user_id=reader_id).values_list("pk", flat=True))
    ReadMark.objects.bulk_create(
        [ReadMark(activity_id=pk, user_id=reader_id) for pk in unread],
        ignore_conflicts=True,
        batch_size=1000,
    )
    return len(unread)
