from __future__ import annotations

from typing import Any

from django.conf import settings
from django.utils import timezone
from django.utils.module_loading import import_string
from drf_spectacular.utils import extend_schema_field
from knox.settings import knox_settings
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied

from accounts import members
from accounts.api.filters import UNKNOWN_PROJECT
from accounts.models import Membership, Project, Token, User
from accounts.scoping import may_change

LARGEST = 2**31 - 1


class VisibleProjectField(serializers.PrimaryKeyRelatedField[Project]):
    """``project_id`` in a body: a project that the asker can see."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("source", "project")
        kwargs.setdefault("required", False)
        kwargs.setdefault("allow_null", True)
        kwargs.setdefault("pk_field", serializers.UUIDField())
        kwargs.setdefault("error_messages", {"does_not_exist": UNKNOWN_PROJECT})
        super().__init__(queryset=Project.objects.all(), **kwargs)

    def get_queryset(self) -> Any:
        return Project.objects.visible_to(self.context["request"].user)


class ProjectField(VisibleProjectField):
    """One that the asker also may write into. Left out: the default one."""

    def to_internal_value(self, data: Any) -> Any:
        project = super().to_internal_value(data)
        if not may_change(self.context["request"].user, project.pk):
            raise serializers.ValidationError(f"You may only look at project '{project}'.")
        return project


# Columns of a project that only staff sets.
QUOTAS = ("max_gpus", "max_gpu_hours", "max_storage_gb")


class QuotaSerializer(serializers.Serializer[Project]):
    """What a project may use; null is no limit."""

    gpus = serializers.IntegerField(
        source="max_gpus", min_value=0, max_value=LARGEST, allow_null=True, required=False
    )
    gpu_hours = serializers.IntegerField(
        source="max_gpu_hours", min_value=0, max_value=LARGEST, allow_null=True, required=False
    )
    storage_gb = serializers.IntegerField(
        source="max_storage_gb", min_value=0, max_value=LARGEST, allow_null=True, required=False
    )


class ProjectSerializer(serializers.ModelSerializer[Project]):
    quota = QuotaSerializer(source="*", required=False)

    class Meta:
        model = Project
        fields = ["id", "name", "description", "quota", "created_at", "updated_at"]

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Who owns a project may send its quota back as it is, but only staff sets another."""
        quota = {name: attrs[name] for name in QUOTAS if name in attrs}
        now = self.instance or Project()
        is_new = any(value != getattr(now, name) for name, value in quota.items())
        if is_new and not self.context["request"].user.is_staff:
            raise PermissionDenied("Only staff sets quotas.")
        return attrs


class UsageSerializer(serializers.Serializer[Any]):
    gpus = serializers.IntegerField(help_text="Held by its jobs now.")
    gpu_hours = serializers.FloatField(help_text="Of all its jobs until now.")
    storage_bytes = serializers.IntegerField(help_text="Of its files below TRAINYARD_HOME.")


class ProjectDetailSerializer(ProjectSerializer):
    """With what the project uses of its quota now."""

    usage = serializers.SerializerMethodField()

    class Meta(ProjectSerializer.Meta):
        fields = [*ProjectSerializer.Meta.fields, "usage"]

    @extend_schema_field(UsageSerializer)
    def get_usage(self, project: Project) -> dict[str, Any]:
        usage: dict[str, Any] = import_string(settings.TRAINYARD_PROJECT_USE)(project)
        return usage


class UsernameField(serializers.SlugRelatedField[User]):
    """Of somebody who is active. Text that PostgreSQL would not take is refused before."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            slug_field="username", queryset=User.objects.filter(is_active=True), **kwargs
        )

    def to_internal_value(self, data: Any) -> User:
        return super().to_internal_value(serializers.CharField().run_validation(data))


class MemberSerializer(serializers.ModelSerializer[Membership]):
    """A new member is named by ``user_id`` or by ``username``; later only the role changes."""

    user_id = serializers.PrimaryKeyRelatedField(
        source="user",
        queryset=User.objects.filter(is_active=True),
        pk_field=serializers.UUIDField(),
        required=False,
    )
    username = UsernameField(source="user", required=False)

    class Meta:
        model = Membership
        fields = ["user_id", "username", "role"]

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        named = [name for name in ("user_id", "username") if name in self.initial_data]
        if self.instance is None and len(named) != 1:
            raise serializers.ValidationError("Name the new member by user_id or by username.")
        return attrs

    def update(self, instance: Membership, validated_data: dict[str, Any]) -> Membership:
        members.change_role(instance, validated_data.get("role", instance.role))
        return instance


class TokenSerializer(serializers.ModelSerializer[Token]):
    begins_with = serializers.CharField(source="token_key", read_only=True)
    created_at = serializers.DateTimeField(source="created", read_only=True)
    expires_at = serializers.DateTimeField(
        source="expiry", required=False, allow_null=True, help_text="null: never. Default: 90 days."
    )

    class Meta:
        model = Token
        fields = ["id", "name", "scope", "begins_with", "created_at", "expires_at"]


class NewTokenSerializer(TokenSerializer):
    """``token``, the secret, is in the answer to its creation and never again."""

    token = serializers.CharField(source="secret", read_only=True)

    class Meta(TokenSerializer.Meta):
        fields = [*TokenSerializer.Meta.fields, "token"]

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """A token that makes another one does not live on in it."""
        attrs.setdefault("expiry", timezone.now() + knox_settings.TOKEN_TTL)
        expiry, maker = attrs["expiry"], self.context["request"].auth
        if expiry is not None and expiry <= timezone.now():
            raise serializers.ValidationError({"expires_at": "This is in the past."})
        if maker and maker.expiry and (expiry is None or expiry > maker.expiry):
            raise serializers.ValidationError(
                {"expires_at": f"Not later than the token that asks: {maker.expiry.isoformat()}."}
            )
        return attrs

    def create(self, validated_data: dict[str, Any]) -> Token:
        return Token.issue(self.context["request"].user, **validated_data)
