"""People, projects, and who may do what in which project."""

from __future__ import annotations

import uuid
from typing import Any, Self

from django.contrib.auth.models import AbstractUser
from django.db import models, transaction
from django.db.models import ManyToOneRel, Q
from knox.models import AbstractAuthToken, get_digest_token
from knox.settings import CONSTANTS

LOCAL_OWNER = "owner"


class User(AbstractUser):  # type: ignore[django-manager-missing]  # of Knox, which has no types
    """Django's user with a UUID, because the API promises UUIDs for every id."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)


class ProjectQuerySet(models.QuerySet["Project"]):
    def visible_to(self, user: Any) -> Self:
        """The projects this user is a member of; all of them for a superuser."""
        if not user.is_authenticated:
            return self.none()
        if user.is_superuser:
            return self
        return self.filter(memberships__user=user)

    def default(self) -> Project:
        """The project that new things belong to when nothing else is said."""
        return self.get(is_default=True)


class Project(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=200, unique=True)
    description = models.TextField(blank=True)
    is_default = models.BooleanField(default=False, editable=False)
    max_gpus = models.PositiveIntegerField(
        null=True, blank=True, help_text="GPUs at the same time. Empty: as many as there are."
    )
    max_gpu_hours = models.PositiveIntegerField(
        null=True, blank=True, help_text="GPU-hours in all. Empty: no limit."
    )
    max_storage_gb = models.PositiveIntegerField(
        null=True, blank=True, help_text="GB (10^9 bytes) of files. Empty: no limit."
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = ProjectQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                fields=["is_default"], condition=Q(is_default=True), name="one_default_project"
            )
        ]

    def __str__(self) -> str:
        return self.name

    def contents(self) -> dict[str, int]:
        """How many things of each kind belong to it and forbid its deletion: "base models": 2."""
        counts = {}
        for relation in self._meta.get_fields(include_hidden=True):
            if isinstance(relation, ManyToOneRel) and relation.on_delete is models.PROTECT:
                things = relation.related_model._base_manager.filter(**{relation.field.name: self})
                counts[str(relation.related_model._meta.verbose_name_plural)] = things.count()
        return {kind: count for kind, count in counts.items() if count}


class Membership(models.Model):
    """A viewer looks, a member also changes, an owner also invites."""

    class Role(models.TextChoices):
        VIEWER = "viewer"
        MEMBER = "member"
        OWNER = "owner"

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role, default=Role.MEMBER)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "user"], name="one_role_per_project"),
            models.CheckConstraint(
                condition=Q(role__in=["viewer", "member", "owner"]), name="membership_role_is_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.project}: {self.role}"


class Token(AbstractAuthToken):
    """Lets a program act for a person: all that they may do, or with scope ``read`` only look.

    Knox keeps the secret's hash (the primary key), its beginning (``token_key``), ``created`` and
    ``expiry``; the secret itself is shown once.
    """

    class Scope(models.TextChoices):
        READ = "read"
        WRITE = "write"

    id = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=100)
    scope = models.CharField(max_length=5, choices=Scope, default=Scope.READ)
    secret: str  # of one that has just been issued, and in no column

    class Meta:
        ordering = ["-created", "id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(scope__in=["read", "write"]), name="token_scope_is_known"
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} of {self.user}"

    @classmethod
    def issue(cls, user: User, **fields: Any) -> Self:
        """A new token with its ``secret``. Without an ``expiry`` it lasts until it is revoked."""
        digest, secret = get_digest_token()
        begin = secret[: CONSTANTS.TOKEN_KEY_LENGTH]
        token = cls(digest=digest, token_key=begin, user=user, **fields)
        with transaction.atomic():  # the token and its audit entry
            token.save(force_insert=True)
        token.secret = secret
        return token


class IdempotencyKey(models.Model):
    """A request that its sender may repeat, and the answer to it: see `accounts.idempotency`."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=255)
    request = models.CharField(max_length=200, help_text="Method and path.")
    body_sha256 = models.CharField(max_length=64)
    # Of whoever is at work on it now.
    claimed_at = models.DateTimeField()
    # Both empty until the work is done.
    status = models.PositiveSmallIntegerField(null=True)
    body = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "key"], name="one_request_per_key_of_a_user")
        ]

    def __str__(self) -> str:
        return f"{self.request} of {self.user}: {self.key}"


class Change(models.Model):
    """Changes that a table has seen; all its rows together count (`accounts.changes`)."""

    table = models.CharField(max_length=100, db_index=True)
    count = models.BigIntegerField()

    def __str__(self) -> str:
        return f"{self.table}: {self.count}"
