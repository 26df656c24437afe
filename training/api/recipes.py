"""/api/recipes: what the contract calls templates."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status, viewsets
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.serializers import ProjectField
from accounts.models import Project
from accounts.scoping import may_change
from api.errors import Conflict
from api.etags import IfMatch
from api.fields import StrictSerializer
from api.views import UUIDLookup
from training import recipes
from training.api.filters import RecipeFilter, RecipeVersionFilter
from training.api.plans import LoraSerializer, TrainSerializer
from training.models import Method, Recipe, RecipeVersion


class DefaultsSerializer(StrictSerializer):
    """What a job gets that does not say otherwise, in the words of a job's own body."""

    train = TrainSerializer(required=False)
    lora = LoraSerializer(required=False)


class RecipeSerializer(serializers.ModelSerializer[Recipe]):
    project_id = ProjectField()
    name = serializers.SlugField(max_length=60)
    display_name = serializers.CharField(max_length=120, required=False)
    defaults = serializers.DictField(required=False)

    class Meta:
        model = Recipe
        fields = [
            "id", "project_id", "name", "display_name", "description", "method", "modality",
            "supports_quantized", "defaults", "built_in", "version", "created_at", "updated_at",
        ]  # fmt: skip
        read_only_fields = ["built_in", "version"]
        validators: list[Any] = []  # of the names; `validate` says it in a sentence

    def validate_defaults(self, defaults: Any) -> dict[str, Any]:
        body = DefaultsSerializer(data=defaults)
        body.is_valid(raise_exception=True)
        return {name: dict(settings) for name, settings in body.validated_data.items()}

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if self.instance is None:
            attrs.setdefault("project", Project.objects.default())
            attrs.setdefault("display_name", attrs["name"])
            refuse_stranger(self.context["request"], attrs["project"])
        elif attrs.pop("project", self.instance.project) != self.instance.project:
            raise serializers.ValidationError(
                {"project_id": "A recipe stays in its project. Clone it into the other one."}
            )
        else:
            attrs["project"] = self.instance.project
        name = self._value(attrs, "name")
        if recipes.name_is_taken(attrs["project"], name, but=self.instance):
            raise name_taken(name)
        if self._value(attrs, "method") == Method.FULL and "lora" in self._value(attrs, "defaults"):
            raise serializers.ValidationError(
                {"defaults.lora": "A full fine-tune has no LoRA settings."}
            )
        return attrs

    def _value(self, attrs: dict[str, Any], field: str) -> Any:
        """What the field will be."""
        return attrs[field] if field in attrs else getattr(self.instance or Recipe(), field)

    def create(self, validated_data: dict[str, Any]) -> Recipe:
        with transaction.atomic():
            return Recipe.objects.create(**validated_data)

    def update(self, instance: Recipe, validated_data: dict[str, Any]) -> Recipe:
        del validated_data["project"]
        return recipes.edit(instance, validated_data)


class CloneSerializer(StrictSerializer):
    """All of it may be left out."""

    name = serializers.SlugField(max_length=60, required=False)
    display_name = serializers.CharField(max_length=120, required=False)
    project_id = ProjectField()

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        attrs.setdefault("project", Project.objects.default())
        refuse_stranger(self.context["request"], attrs["project"])
        if "name" in attrs and recipes.name_is_taken(attrs["project"], attrs["name"]):
            raise name_taken(attrs["name"])
        return attrs


class RecipeVersionSerializer(serializers.ModelSerializer[RecipeVersion]):
    defaults = serializers.DictField(read_only=True)

    class Meta:
        model = RecipeVersion
        fields = [
            "version", "method", "modality", "supports_quantized", "defaults", "replaced_at",
        ]  # fmt: skip
        read_only_fields = fields


class RecipeViewSet(UUIDLookup, IfMatch, viewsets.ModelViewSet[Recipe]):
    """Members change their project's recipes, staff the shared ones, nobody those that ship."""

    serializer_class = RecipeSerializer
    filterset_class = RecipeFilter
    plural = "recipes"
    http_method_names = ["get", "post", "patch", "delete", "head", "options"]

    def get_queryset(self) -> Any:
        return Recipe.objects.visible_to(self.request.user).select_related("project")

    def get_object(self) -> Any:
        recipe = super().get_object()
        changes = self.request.method not in SAFE_METHODS and self.action != "clone"
        if changes and not may_change(self.request.user, recipe.project_id):
            raise PermissionDenied("You may see this, but not change it.")
        return recipe

    def perform_create(self, serializer: Any) -> None:
        _save(serializer)

    def perform_update(self, serializer: Any) -> None:
        _save(serializer)

    def perform_destroy(self, instance: Recipe) -> None:
        try:
            recipes.delete(instance)
        except recipes.CannotChange as error:
            raise Conflict(str(error)) from error

    @extend_schema(request=CloneSerializer, responses={201: RecipeSerializer})
    @action(detail=True, methods=["post"])
    def clone(self, request: Request, pk: str) -> Response:
        """Copy it, into the default project unless the body names another."""
        original = self.get_object()
        body = CloneSerializer(data=request.data, context=self.get_serializer_context())
        body.is_valid(raise_exception=True)
        try:
            copy = recipes.clone(original, **body.validated_data)
        except IntegrityError as error:
            raise name_taken(body.validated_data.get("name", original.name)) from error
        return Response(self.get_serializer(copy).data, status=status.HTTP_201_CREATED)

    @extend_schema(responses=RecipeVersionSerializer(many=True))
    @action(detail=True, plural="versions", filterset_class=RecipeVersionFilter)
    def versions(self, request: Request, pk: str) -> Response:
        """What it did before it was changed, newest first; now is in the recipe itself."""
        page = self.paginate_queryset(self.filter_queryset(self.get_object().earlier.all()))
        return self.get_paginated_response(RecipeVersionSerializer(page, many=True).data)


def _save(serializer: Any) -> None:
    try:
        serializer.save()
    except recipes.CannotChange as error:
        raise Conflict(str(error)) from error
    except IntegrityError as error:  # another request has just taken it
        raise name_taken(serializer.validated_data.get("name", "")) from error


def refuse_stranger(request: Request, project: Project | None) -> None:
    """What belongs to no project is everybody's, and only staff writes it."""
    if not may_change(request.user, project.pk if project else None):
        raise PermissionDenied("You may not write here.")


def name_taken(name: str) -> serializers.ValidationError:
    return serializers.ValidationError({"name": f"There is a recipe '{name}' already."})
