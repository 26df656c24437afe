"""GET /api/audit: who changed what, from where. For staff."""

from __future__ import annotations

from typing import Any

from auditlog.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import QuerySet
from django_filters import rest_framework as filters
from rest_framework import mixins, serializers, viewsets
from rest_framework.permissions import IsAdminUser

from activity import audit
from api.filters import FilterSet, KnownChoiceFilter, Ordering, SearchFilter


class AuditSerializer(serializers.ModelSerializer[LogEntry]):
    """``changes`` has the old and the new value of each field. ``actor`` is the name that the
    actor had then, and is null where the platform itself was at work."""

    cursor = serializers.IntegerField(source="pk", read_only=True)
    actor_id = serializers.UUIDField(read_only=True, allow_null=True)
    actor = serializers.SerializerMethodField()
    action = serializers.SerializerMethodField()
    object_type = serializers.SerializerMethodField()
    object_id = serializers.CharField(source="object_pk", read_only=True)
    object_name = serializers.CharField(source="object_repr", read_only=True)
    changes = serializers.SerializerMethodField()

    class Meta:
        model = LogEntry
        fields = [
            "cursor", "timestamp", "actor_id", "actor", "remote_addr", "action", "object_type",
            "object_id", "object_name", "changes",
        ]  # fmt: skip

    def get_actor(self, entry: LogEntry) -> str | None:
        return audit.actor_of(entry)

    def get_action(self, entry: LogEntry) -> str:
        return audit.verb_of(entry)

    def get_object_type(self, entry: LogEntry) -> str:
        # From the cache of content types: no query for a row.
        kind = ContentType.objects.get_for_id(entry.content_type_id)
        model = kind.model_class()
        return audit.word_for(model) if model else kind.model

    def get_changes(self, entry: LogEntry) -> dict[str, list[Any]]:
        return audit.changes_of(entry)


class AuditFilter(FilterSet):
    actor = filters.UUIDFilter(field_name="actor_id", label="Id of the user who did it.")
    object_id = filters.CharFilter(field_name="object_pk", label="Id of what was changed.")
    object_type = KnownChoiceFilter(
        choices=[(word, word) for word in sorted(audit.kinds())], method="of_type"
    )
    search = SearchFilter(in_fields=("object_repr",))
    q = SearchFilter(in_fields=("object_repr",))
    ordering = Ordering("timestamp")

    class Meta:
        model = LogEntry
        fields: list[str] = []

    def of_type(self, rows: QuerySet[Any], name: str, word: str) -> QuerySet[Any]:
        return rows.filter(content_type=ContentType.objects.get_for_model(audit.kinds()[word]))


class AuditViewSet(mixins.ListModelMixin, viewsets.GenericViewSet[LogEntry]):
    serializer_class = AuditSerializer
    filterset_class = AuditFilter
    permission_classes = [IsAdminUser]
    queryset = LogEntry.objects.order_by("-timestamp", "-pk")
    plural = "entries"
    limit = 100
