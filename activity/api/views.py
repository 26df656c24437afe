"""GET and POST /api/activity, and the read marks."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from django.db import transaction
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import mixins, viewsets
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import changes
from activity import reading
from activity.api import examples
from activity.api.filters import ActivityFilter
from activity.api.serializers import (
    ActivitySerializer,
    MarkAllReadSerializer,
    MarkedReadSerializer,
)
from activity.models import Activity
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
        marks = ("activity_readmark", "activity_readupto")
        return changes.state("activity_activity", *marks, *changes.RIGHTS)

    @transaction.atomic
    def perform_create(self, serializer: Any) -> None:
        serializer.save()

    @extend_schema(request=None)
    @action(detail=True, methods=["post"], url_path="mark-read")
    def mark_read(self, request: Request, pk: str) -> Response:
        """One activity, for whoever asks."""
        activity = self.get_object()
        reading.mark(Activity.objects.filter(pk=activity.pk), request.user)
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
        if project := body.validated_data.get("project"):
            of_project = Activity.objects.visible_to(person).filter(project=project)
            return Response({"marked_read": reading.mark(of_project, person)})
        return Response({"marked_read": reading.mark_all(person)})
