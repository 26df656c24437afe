"""Telling other programs: where to, and what became of each delivery."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any, Self
from urllib.parse import urlsplit

from django.conf import settings
from django.db import models
from django.db.models import Q

from accounts.models import Project
from accounts.scoping import ProjectScopedQuerySet
from activity.models.feed import Activity
from activity.models.notifications import Due


class Webhook(models.Model):
    """An address that a project's events are posted to."""

    class Kind(models.TextChoices):
        GENERIC = "generic"
        SLACK = "slack"
        DISCORD = "discord"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="webhooks")
    name = models.CharField(max_length=100)
    # Those of Slack and Discord are secrets themselves: only owners are shown the whole of it.
    url = models.CharField(max_length=1000)
    kind = models.CharField(max_length=10, choices=Kind, default=Kind.GENERIC)
    event_types = models.JSONField(default=list)
    enabled = models.BooleanField(default=True)
    encrypted_secret = models.TextField(editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = ProjectScopedQuerySet.as_manager()
    secret: str  # of one that has just been made, and in no column

    class Meta:
        ordering = ["name", "id"]
        constraints = [
            models.UniqueConstraint(fields=["project", "name"], name="one_webhook_per_name"),
            models.CheckConstraint(
                condition=Q(kind__in=["generic", "slack", "discord"]), name="webhook_kind_is_known"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def place(self) -> str:
        """The address without what may be secret in it."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.hostname}/…"


class DeliveryQuerySet(models.QuerySet["WebhookDelivery"]):
    def pending(self) -> Self:
        return self.filter(state=WebhookDelivery.State.PENDING)

    def due(self, now: datetime) -> Self:
        return self.pending().filter(due_at__lte=now, webhook__enabled=True)


class WebhookDelivery(Due):
    """One message to one address: what was posted, and what came back the last time."""

    class State(models.TextChoices):
        PENDING = "pending"
        DELIVERED = "delivered"
        FAILED = "failed"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    webhook = models.ForeignKey(Webhook, on_delete=models.CASCADE, related_name="deliveries")
    # None: a test, which tells of nothing that has happened.
    activity = models.ForeignKey(
        Activity, null=True, on_delete=models.SET_NULL, related_name="deliveries"
    )
    event_type = models.CharField(max_length=40)
    # As it is posted, to the last byte: what is signed must not be written anew.
    request_body = models.TextField()
    state = models.CharField(max_length=10, choices=State, default=State.PENDING)
    response_status = models.PositiveSmallIntegerField(null=True)
    response_body = models.TextField(blank=True)
    error = models.TextField(blank=True)
    duration_ms = models.PositiveIntegerField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    attempted_at = models.DateTimeField(null=True)

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "id"]
        verbose_name_plural = "webhook deliveries"
        indexes = [
            # What is to be sent now, asked every few seconds.
            models.Index(
                fields=["due_at"], condition=Q(state="pending"), name="delivery_is_pending"
            ),
            models.Index(fields=["webhook", "-created_at", "id"], name="delivery_of_webhook"),
            # How many have failed, for each webhook of the list.
            models.Index(fields=["webhook", "state"], name="delivery_in_state"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=["pending", "delivered", "failed"]),
                name="delivery_state_is_known",
            )
        ]

    def __str__(self) -> str:
        return f"{self.event_type} to {self.webhook}: {self.state}"


class Outbox(models.Model):
    """One row: up to which cursor the activities have been turned into deliveries and notices, and
    until when somebody is busy sending them."""

    dispatched = models.BigIntegerField(default=0)
    busy_until = models.DateTimeField(null=True)

    class Meta:
        verbose_name_plural = "outbox"

    def __str__(self) -> str:
        return f"up to {self.dispatched}"

    @classmethod
    def held(cls) -> Any:
        """The row, locked until the end of the transaction."""
        return cls.objects.select_for_update().get()
