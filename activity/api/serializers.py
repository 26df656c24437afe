from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from rest_framework import serializers

from accounts.api.serializers import ProjectField, VisibleProjectField
from accounts.models import Project
from activity.models import Activity
from activity.record import record
from api.rows import RowsSerializer


class UserField(serializers.PrimaryKeyRelatedField[Any]):
    """``user_id`` in a body: somebody there is."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs = {"source": "user", "required": False, "allow_null": True, **kwargs}
        kwargs.setdefault("pk_field", serializers.UUIDField())
        kwargs.setdefault("queryset", get_user_model().objects.all())
        super().__init__(**kwargs)


class ActivitySerializer(serializers.ModelSerializer[Activity]):
    user_id = UserField()
    project_id = ProjectField()
    entity_id = serializers.UUIDField(required=False, allow_null=True)
    metadata = serializers.DictField(required=False)
    read = serializers.BooleanField(read_only=True, default=False)

    class Meta:
        model = Activity
        list_serializer_class = RowsSerializer
        fields = [
            "id",
            "event_type",
            "entity_type",
            "entity_id",
            "title",
            "message",
            "status",
            "user_id",
            "project_id",
            "metadata",
            "read",
            "cursor",
            "created_at",
        ]

    def validate_user_id(self, user: Any) -> Any:
        writer = self.context["request"].user
        if user is not None and user != writer and not writer.is_superuser:
            raise serializers.ValidationError("You may write only in your own name.")
        return user

    def create(self, validated_data: dict[str, Any]) -> Activity:
        project: Project | None = validated_data.pop("project", None)
        return record(
            **{"entity_id": None, **validated_data},
            project_id=project.pk if project else None,
        )


class MarkAllReadSerializer(serializers.Serializer[Any]):
    user_id = UserField()
    project_id = VisibleProjectField()


class MarkedReadSerializer(serializers.Serializer[Any]):
    marked_read = serializers.IntegerField(min_value=0, help_text="How many were unread.")
