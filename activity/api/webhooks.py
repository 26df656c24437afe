"""/api/webhooks: what a project tells other programs, and what became of it."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction
from django.shortcuts import get_object_or_404
from django.utils.functional import cached_property
from drf_spectacular.utils import extend_schema, extend_schema_field, extend_schema_view
from rest_framework import exceptions, mixins, serializers, status, viewsets
from rest_framework.decorators import action
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.filters import ProjectFilter
from accounts.api.serializers import VisibleProjectField
from accounts.models import Project
from accounts.scoping import is_owner, owned_by
from activity import webhooks
from activity.api import examples
from activity.models import EventType, Webhook, WebhookDelivery
from activity.outgoing import http
from api.errors import Conflict
from api.etags import IfMatch
from api.filters import FilterSet, KnownChoiceFilter, Ordering, SearchFilter, StrictBooleanFilter
from api.views import UUIDLookup, as_uuid

OWNERS_ONLY = "Only an owner of the project may do this."


class WebhookFilter(FilterSet):
    project_id = ProjectFilter()
    kind = KnownChoiceFilter(choices=Webhook.Kind.choices)
    enabled = StrictBooleanFilter()
    search = SearchFilter(in_fields=("name",))
    ordering = Ordering("name", "created_at")

    class Meta:
        model = Webhook
        fields: list[str] = []


class DeliveryFilter(FilterSet):
    state = KnownChoiceFilter(choices=WebhookDelivery.State.choices)
    event_type = KnownChoiceFilter(choices=[*EventType.choices, ("test", "Test")])
    ordering = Ordering("created_at")

    class Meta:
        model = WebhookDelivery
        fields: list[str] = []


class UrlField(serializers.CharField):
    """Whole for owners; others see only which host it is."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=1000, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        url = super().to_internal_value(data)
        try:
            http.check_url(url)
        except http.NotAllowed as error:
            raise serializers.ValidationError(str(error)) from error
        return url

    def get_attribute(self, instance: Webhook) -> str:
        return instance.url if instance.project_id in self.context["owned"] else instance.place


class WebhookSerializer(serializers.ModelSerializer[Webhook]):
    project_id = VisibleProjectField(
        allow_null=False, help_text="One that you own. Left out: the default one."
    )
    url = UrlField(help_text="https:// or http://. Whole for owners, others see the host.")
    event_types = serializers.MultipleChoiceField(
        choices=EventType.choices, allow_empty=False, help_text="What is posted to it."
    )

    class Meta:
        model = Webhook
        validators: list[Any] = []  # a name that is taken is a conflict, and the database knows
        fields = [
            "id",
            "project_id",
            "name",
            "url",
            "kind",
            "event_types",
            "enabled",
            "created_at",
            "updated_at",
        ]

    def to_representation(self, instance: Webhook) -> dict[str, Any]:
        shown = super().to_representation(instance)
        return {**shown, "event_types": sorted(shown["event_types"])}

    def validate_project_id(self, project: Project) -> Project:
        if self.instance is not None and project.pk != self.instance.project_id:
            raise serializers.ValidationError("A webhook stays in its project.")
        if not is_owner(self.context["request"].user, project.pk):
            raise serializers.ValidationError(f"You do not own project '{project}'.")
        return project

    def validate_event_types(self, chosen: set[str]) -> list[str]:
        return sorted(chosen)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if self.instance is None and "project" not in attrs:
            user, project = self.context["request"].user, Project.objects.default()
            if not is_owner(user, project.pk):
                raise serializers.ValidationError({"project_id": "Name a project that you own."})
            attrs["project"] = project
        return attrs

    def create(self, validated_data: dict[str, Any]) -> Webhook:
        return webhooks.create(user=self.context["request"].user, **validated_data)


class NewWebhookSerializer(WebhookSerializer):
    """``secret`` is in the answer to its creation and never again."""

    secret = serializers.CharField(
        read_only=True, help_text="What its messages are signed with. Shown this once."
    )

    class Meta(WebhookSerializer.Meta):
        fields = [*WebhookSerializer.Meta.fields, "secret"]


class DeliverySerializer(serializers.ModelSerializer[WebhookDelivery]):
    webhook_id = serializers.UUIDField(read_only=True)
    activity_id = serializers.UUIDField(read_only=True, allow_null=True)
    next_attempt_at = serializers.SerializerMethodField()

    class Meta:
        model = WebhookDelivery
        fields = [
            "id",
            "webhook_id",
            "activity_id",
            "event_type",
            "state",
            "attempts",
            "request_body",
            "response_status",
            "response_body",
            "error",
            "duration_ms",
            "created_at",
            "attempted_at",
            "next_attempt_at",
        ]
        read_only_fields = fields

    @extend_schema_field(serializers.DateTimeField(allow_null=True))
    def get_next_attempt_at(self, delivery: WebhookDelivery) -> Any:
        is_pending = delivery.state == WebhookDelivery.State.PENDING
        return delivery.due_at if is_pending else None


@extend_schema_view(
    create=extend_schema(
        request=WebhookSerializer,
        responses={201: NewWebhookSerializer},
        examples=examples.WEBHOOK_CREATE,
    ),
    destroy=extend_schema(description="Its deliveries go with it."),
)
class WebhookViewSet(UUIDLookup, IfMatch, viewsets.ModelViewSet[Webhook]):
    """Everybody in a project sees what it tells to whom; its owners change that."""

    filterset_class = WebhookFilter
    plural = "webhooks"
    limit = 100
    http_method_names = ["get", "post", "patch", "delete", "head", "options"]

    def get_queryset(self) -> Any:
        return Webhook.objects.visible_to(self.request.user)

    def get_serializer_class(self) -> Any:
        shows_secret = self.action in ("create", "rotate_secret")
        return NewWebhookSerializer if shows_secret else WebhookSerializer

    def get_serializer_context(self) -> dict[str, Any]:
        return {**super().get_serializer_context(), "owned": self.owned}

    @cached_property
    def owned(self) -> set[Any]:
        return set(owned_by(self.request.user).values_list("pk", flat=True))

    def get_object(self) -> Webhook:
        webhook: Webhook = super().get_object()
        writes = self.request.method not in SAFE_METHODS
        if writes and not is_owner(self.request.user, webhook.project_id):
            raise exceptions.PermissionDenied(OWNERS_ONLY)
        return webhook

    def perform_create(self, serializer: Any) -> None:
        _save(serializer)

    def perform_update(self, serializer: Any) -> None:
        _save(serializer)

    @extend_schema(request=None, responses={201: DeliverySerializer})
    @action(detail=True, methods=["post"])
    def test(self, request: Request, pk: str) -> Response:
        """Send something. The answer is the delivery; ask for it again to see what came of it."""
        try:
            delivery = webhooks.test(self.get_object())
        except webhooks.TurnedOff as error:
            raise Conflict(str(error)) from error
        return Response(DeliverySerializer(delivery).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=None, responses=NewWebhookSerializer)
    @action(detail=True, methods=["post"], url_path="rotate-secret")
    def rotate_secret(self, request: Request, pk: str) -> Response:
        """A new secret, shown this once. The old one counts no more."""
        webhook = webhooks.rotate_secret(self.get_object(), user=request.user)
        return Response(self.get_serializer(webhook).data)


def _save(serializer: Any) -> None:
    try:
        with transaction.atomic():
            serializer.save()
    except IntegrityError as error:
        name = serializer.validated_data.get("name", "")
        raise Conflict(f"The project has a webhook '{name}' already.") from error


class DeliveryViewSet(
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    viewsets.GenericViewSet[WebhookDelivery],
):
    """What was sent to a webhook, newest first, for a month."""

    serializer_class = DeliverySerializer
    filterset_class = DeliveryFilter
    queryset = WebhookDelivery.objects.none()  # where only the schema is made, nobody asks
    plural = "deliveries"
    limit = 50
    lookup_url_kwarg = "delivery_id"
    lookup_value_regex = "[^/]+"

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        visible = Webhook.objects.visible_to(request.user)
        self.webhook = get_object_or_404(visible, pk=as_uuid(kwargs["webhook_id"]))
        if request.method not in SAFE_METHODS and not is_owner(
            request.user, self.webhook.project_id
        ):
            raise exceptions.PermissionDenied(OWNERS_ONLY)

    def get_queryset(self) -> Any:
        return WebhookDelivery.objects.filter(webhook=self.kwargs.get("webhook_id"))

    def get_object(self) -> WebhookDelivery:
        as_uuid(self.kwargs["delivery_id"])
        delivery: WebhookDelivery = super().get_object()
        return delivery

    @extend_schema(request=None, responses={201: DeliverySerializer})
    @action(detail=True, methods=["post"])
    def redeliver(self, request: Request, webhook_id: str, delivery_id: str) -> Response:
        """The same once more, as a delivery of its own."""
        try:
            delivery = webhooks.redeliver(self.get_object())
        except webhooks.TurnedOff as error:
            raise Conflict(str(error)) from error
        return Response(self.get_serializer(delivery).data, status=status.HTTP_201_CREATED)
