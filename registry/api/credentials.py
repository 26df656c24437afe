"""/api/hub-tokens and /api/bucket-keys: what opens other people's servers to a project. Everybody
in it sees that it is there, its owners set and remove it, and nobody is shown the secret again."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, viewsets
from rest_framework.exceptions import PermissionDenied

from accounts.api.filters import ProjectFilter
from accounts.api.serializers import VisibleProjectField
from accounts.models import Project
from accounts.scoping import is_owner
from api.etags import Tagged
from api.filters import FilterSet, Ordering
from api.views import UUIDLookup
from registry.api.transfers import checked_address
from registry.hub import tokens
from registry.hub.models import BucketKey, HubToken


def _refuse_others(user: Any, project_id: Any, model: type[HubToken | BucketKey]) -> None:
    if not is_owner(user, project_id):
        what = model._meta.verbose_name_plural
        raise PermissionDenied(f"Only an owner of the project sets or removes its {what}.")


class CredentialSerializer(serializers.ModelSerializer[Any]):
    project_id = VisibleProjectField(required=True, allow_null=False)
    user_id = serializers.UUIDField(source="created_by_id", read_only=True, allow_null=True)

    def owner_of(self, project: Project) -> Any:
        """Who asks. Raises PermissionDenied for everybody else."""
        user = self.context["request"].user
        _refuse_others(user, project.pk, self.Meta.model)
        return user


class CredentialViewSet(
    UUIDLookup,
    mixins.ListModelMixin,
    mixins.CreateModelMixin,
    mixins.DestroyModelMixin,
    Tagged,
    viewsets.GenericViewSet[Any],
):
    credentials: type[HubToken | BucketKey]

    def get_queryset(self) -> Any:
        return self.credentials.objects.visible_to(self.request.user)

    def perform_destroy(self, instance: HubToken | BucketKey) -> None:
        _refuse_others(self.request.user, instance.project_id, self.credentials)
        tokens.remove(instance)


# --- Hub tokens: one of a project ----------------------------------------------------------------


class HubTokenSerializer(CredentialSerializer):
    token = serializers.RegexField(
        r"^[!-~]{8,400}$",
        write_only=True,
        max_length=400,
        error_messages={"invalid": "A hub token is one word, such as hf_…"},
    )

    class Meta:
        model = HubToken
        fields = ["id", "project_id", "user_id", "token", "created_at", "updated_at"]

    def create(self, validated_data: dict[str, Any]) -> HubToken:
        project = validated_data["project"]
        return tokens.keep(project, validated_data["token"], user=self.owner_of(project))


class HubTokenFilter(FilterSet):
    project = ProjectFilter()
    ordering = Ordering("created_at", "updated_at")

    class Meta:
        model = HubToken
        fields: list[str] = []


class HubTokenViewSet(CredentialViewSet):
    """Everybody in a project sees that it has one; its owners set and remove it."""

    credentials = HubToken
    serializer_class = HubTokenSerializer
    filterset_class = HubTokenFilter
    plural = "hub_tokens"

    @extend_schema(description="Gives a project a token, in the place of the one that it had.")
    def create(self, *args: Any, **kwargs: Any) -> Any:
        return super().create(*args, **kwargs)


# --- Bucket keys: one of a project for each server of buckets ------------------------------------


class BucketKeySerializer(CredentialSerializer):
    access_key_id = serializers.RegexField(
        r"^[!-~]{1,200}$",
        max_length=200,
        error_messages={"invalid": "An access key is one word."},
    )
    secret_access_key = serializers.RegexField(
        r"^[!-~]{8,400}$",
        write_only=True,
        max_length=400,
        error_messages={"invalid": "A secret key is one word of at least 8 characters."},
    )

    class Meta:
        model = BucketKey
        fields = [
            "id", "project_id", "user_id", "endpoint_url", "access_key_id", "secret_access_key",
            "created_at", "updated_at",
        ]  # fmt: skip
        validators: list[Any] = []  # a second one takes the place of the first

    def validate_endpoint_url(self, url: str) -> str:
        return checked_address(url.rstrip("/"))

    def create(self, validated_data: dict[str, Any]) -> BucketKey:
        project = validated_data["project"]
        return tokens.keep_key(
            project,
            validated_data.get("endpoint_url", ""),
            validated_data["access_key_id"],
            validated_data["secret_access_key"],
            user=self.owner_of(project),
        )


class BucketKeyFilter(FilterSet):
    project = ProjectFilter()
    ordering = Ordering("endpoint_url", "created_at", "updated_at")

    class Meta:
        model = BucketKey
        fields: list[str] = []


class BucketKeyViewSet(CredentialViewSet):
    """Everybody in a project sees which it has; its owners set and remove them."""

    credentials = BucketKey
    serializer_class = BucketKeySerializer
    filterset_class = BucketKeyFilter
    plural = "bucket_keys"

    @extend_schema(
        description="Gives a project a key for a server of buckets (empty `endpoint_url`: Amazon "
        "S3), in the place of the one that it had."
    )
    def create(self, *args: Any, **kwargs: Any) -> Any:
        return super().create(*args, **kwargs)
