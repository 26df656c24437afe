"""Whose thing is this? Everything belongs to a project, or to none and then to everybody."""

from __future__ import annotations

from typing import Any, Self

from django.db import models
from django.db.models import Q

from accounts.models import Membership, Project, User


class ProjectScopedQuerySet(models.QuerySet[Any]):
    def visible_to(self, user: Any) -> Self:
        """What this user may see: lists, details, sockets and pages all ask here."""
        if not user.is_authenticated:
            return self.none()
        if user.is_superuser:
            return self
        return self.filter(
            Q(project=None) | Q(project__in=Project.objects.visible_to(user).values("pk"))
        )


def may_change(user: Any, project_id: Any) -> bool:
    """Members and owners change what is their project's; what is nobody's, only staff changes."""
    if user.is_superuser:
        return True
    if project_id is None:
        return bool(user.is_staff)
    return (
        Membership.objects.filter(user=user, project_id=project_id)
        .exclude(role=Membership.Role.VIEWER)
        .exists()
    )


def writable_by(user: Any) -> models.QuerySet[Project]:
    """The projects of which `may_change` is true, the default one first."""
    projects = Project.objects.visible_to(user)
    if not user.is_superuser:
        mine = Membership.objects.filter(user=user).exclude(role=Membership.Role.VIEWER)
        projects = projects.filter(pk__in=mine.values("project"))
    return projects.order_by("-is_default", "name")


def is_owner(user: Any, project_id: Any) -> bool:
    """Owners invite, rename and delete."""
    if user.is_superuser:
        return True
    owners = Membership.objects.filter(project_id=project_id, role=Membership.Role.OWNER)
    return owners.filter(user=user).exists()


def owned_by(user: Any) -> models.QuerySet[Project]:
    """The projects that this user is an owner of; all of them for a superuser."""
    if user.is_superuser:
        return Project.objects.all()
    owned = Membership.objects.filter(user=user, role=Membership.Role.OWNER)
    return Project.objects.filter(pk__in=owned.values("project"))


def known_to(user: Any) -> models.QuerySet[User]:
    """The people of this user's projects, and the user; everybody for a superuser."""
    if not user.is_authenticated:
        return User.objects.none()
    if user.is_superuser:
        return User.objects.all()
    projects = Project.objects.visible_to(user).values("pk")
    colleagues = Membership.objects.filter(project__in=projects).values("user")
    return User.objects.filter(Q(pk=user.pk) | Q(pk__in=colleagues))
