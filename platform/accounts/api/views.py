"""/api/projects with their members, and /api/tokens."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction
from django.shortcuts import get_object_or_404
from rest_framework import mixins, viewsets
from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request

from accounts import members
from accounts.api.filters import MemberFilter, ProjectListFilter, TokenFilter
from accounts.api.serializers import (
    MemberSerializer,
    NewTokenSerializer,
    ProjectDetailSerializer,
    ProjectSerializer,
    TokenSerializer,
)
from accounts.models import Membership, Project, Token, User
from accounts.scoping import is_owner
from api.authentication import NameAndPassword
from api.errors import Conflict
from api.etags import IfMatch
from api.views import UUIDLookup, as_uuid

METHODS = ["get", "post", "patch", "delete", "head", "options"]
OWNERS_ONLY = "Only an owner of the project may do this."


class ProjectViewSet(UUIDLookup, IfMatch, viewsets.ModelViewSet[Project]):
    """Whoever is signed in may make one and owns it; its owners change and delete it."""

    filterset_class = ProjectListFilter
    plural = "projects"
    passing = ("usage",)
    http_method_names = METHODS

    def get_queryset(self) -> Any:
        return Project.objects.visible_to(self.request.user)

    def get_serializer_class(self) -> Any:
        return ProjectSerializer if self.action == "list" else ProjectDetailSerializer

    def get_object(self) -> Any:
        project = super().get_object()
        writes = self.request.method not in SAFE_METHODS
        if writes and not is_owner(self.request.user, project.pk):
            raise PermissionDenied(OWNERS_ONLY)
        return project

    @transaction.atomic
    def perform_create(self, serializer: Any) -> None:
        project, user = _save(serializer), self.request.user
        assert isinstance(user, User)
        Membership.objects.create(project=project, user=user, role=Membership.Role.OWNER)

    def perform_update(self, serializer: Any) -> None:
        _save(serializer)

    def perform_destroy(self, instance: Project) -> None:
        """An empty one only: nobody loses models and jobs by one call."""
        if instance.is_default:
            raise Conflict("The default project stays.")
        if contents := instance.contents():
            kinds = ", ".join(f"{kind}: {count}" for kind, count in contents.items())
            raise Conflict(f"Project '{instance}' is not empty ({kinds}).")
        instance.delete()


def _save(serializer: Any) -> Any:
    """The project and its audit entry. Raises Conflict."""
    try:
        with transaction.atomic():
            return serializer.save()
    except IntegrityError as error:  # another request has just taken the name
        name = serializer.validated_data.get("name", "")
        raise Conflict(f"There is a project '{name}' already.") from error


class MemberViewSet(
    mixins.ListModelMixin,
    mixins.CreateModelMixin,
    mixins.UpdateModelMixin,
    mixins.DestroyModelMixin,
    viewsets.GenericViewSet[Membership],
):
    """Everybody in a project sees who else is; its owners change that."""

    serializer_class = MemberSerializer
    filterset_class = MemberFilter
    queryset = Membership.objects.none()  # where only the schema is made, nobody asks
    plural = "members"
    lookup_field = "user_id"
    lookup_value_regex = "[^/]+"
    http_method_names = METHODS

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        visible = Project.objects.visible_to(request.user)
        self.project = get_object_or_404(visible, pk=as_uuid(kwargs["project_id"]))
        if request.method not in SAFE_METHODS and not is_owner(request.user, self.project.pk):
            raise PermissionDenied(OWNERS_ONLY)

    def get_queryset(self) -> Any:
        in_project = Membership.objects.filter(project=self.kwargs.get("project_id"))
        return in_project.select_related("user", "project").order_by("user__username")

    def get_object(self) -> Any:
        as_uuid(self.kwargs["user_id"])
        return super().get_object()

    def perform_create(self, serializer: Any) -> None:
        try:
            with transaction.atomic():
                serializer.save(project=self.project)
        except IntegrityError as error:
            raise Conflict(f"{serializer.validated_data['user']} is a member already.") from error

    def perform_update(self, serializer: Any) -> None:
        try:
            serializer.save()
        except members.LastOwner as error:
            raise Conflict(str(error)) from error

    def perform_destroy(self, instance: Membership) -> None:
        try:
            members.remove(instance)
        except members.LastOwner as error:
            raise Conflict(str(error)) from error


class TokenViewSet(
    UUIDLookup,
    mixins.ListModelMixin,
    mixins.CreateModelMixin,
    mixins.DestroyModelMixin,
    viewsets.GenericViewSet[Token],
):
    """One's own tokens. Here a name and password do too (Basic): somehow the first one is made."""

    filterset_class = TokenFilter
    queryset = Token.objects.none()  # as above
    plural = "tokens"
    lookup_field = "id"

    def get_authenticators(self) -> Any:
        return [*super().get_authenticators(), NameAndPassword()]

    def get_serializer_class(self) -> Any:
        return NewTokenSerializer if self.action == "create" else TokenSerializer

    def get_queryset(self) -> Any:
        return Token.objects.filter(user=self.request.user.pk)
