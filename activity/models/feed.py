"""What happened, in the order in which it was committed, and who has read it."""

from __future__ import annotations

import uuid
from typing import Any, Self

from django.conf import settings
from django.db import models
from django.db.models import BooleanField, Exists, ExpressionWrapper, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce

from accounts.models import Project
from accounts.scoping import ProjectScopedQuerySet


class EventType(models.TextChoices):
    JOB_CREATED = "job_created"
    JOB_STARTED = "job_started"
    JOB_COMPLETED = "job_completed"
    JOB_FAILED = "job_failed"
    JOB_CANCELLED = "job_cancelled"
    JOB_PAUSED = "job_paused"
    TRANSFER_STARTED = "transfer_started"
    TRANSFER_COMPLETED = "transfer_completed"
    TRANSFER_FAILED = "transfer_failed"
    DATASET_IMPORTED = "dataset_imported"
    MODEL_CREATED = "model_created"


# What `metadata["action"]` says of what only follows from something that people were told of: it is
# in the feed, and nobody is called because of it. The contract has no event type of its own for it.
FOLLOWS = frozenset({"checked"})

# For people: "job_completed" is "Job completed".
EVENT_WORDS = [(event.value, event.value.replace("_", " ").capitalize()) for event in EventType]


class EntityType(models.TextChoices):
    JOB = "job"
    TRANSFER = "transfer"
    EXPERIMENT = "experiment"
    DATASET = "dataset"
    MODEL = "model"


class Status(models.TextChoices):
    INFO = "info"
    SUCCESS = "success"
    WARNING = "warning"
    ERROR = "error"


class ActivityQuerySet(ProjectScopedQuerySet):
    def with_read(self, user: Any) -> Self:
        """Adds ``read``: has this user marked it, or everything up to it?"""
        read = Q(_marked(user)) | Q(cursor__lte=_read_up_to(user))
        return self.annotate(read=ExpressionWrapper(read, output_field=BooleanField()))

    def few(self, begin: int, end: int) -> Self:
        """These lines, chosen before anything else is asked of them: asked ``with_read`` of a long
        feed, PostgreSQL goes through all marks of its reader to show a dozen lines."""
        chosen: Self = self.model._default_manager.filter(pk__in=self.values("pk")[begin:end])
        return chosen

    def unread_by(self, user: Any) -> Self:
        """By the index of the cursor: what was read long ago is not even looked at."""
        return self.filter(cursor__gt=_read_up_to(user)).exclude(_marked(user))

    def containing(self, words: str) -> Self:
        return self.filter(Q(title__icontains=words) | Q(message__icontains=words))


def _marked(user: Any) -> Exists:
    return Exists(ReadMark.objects.filter(activity=OuterRef("pk"), user=user))


def _read_up_to(user: Any) -> Coalesce:
    return Coalesce(Subquery(ReadUpTo.objects.filter(user=user).values("cursor")), 0)


class Activity(models.Model):
    """One line of the feed. It copies the name of its subject and keeps only text keys to it, so
    that it outlives the subject; this app knows no other app's models."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    # Given inside the writing transaction under the lock of `Cursor`: whoever has seen n has seen
    # everything below n. An ordinary sequence does not promise that (PostgreSQL gives numbers
    # before commit).
    cursor = models.BigIntegerField(unique=True, editable=False)
    event_type = models.CharField(max_length=40, choices=EventType)
    entity_type = models.CharField(max_length=20, choices=EntityType)
    entity_id = models.UUIDField(null=True)
    title = models.CharField(max_length=300)
    message = models.TextField(blank=True)
    status = models.CharField(max_length=10, choices=Status, default=Status.INFO)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    project = models.ForeignKey(Project, null=True, on_delete=models.CASCADE, related_name="+")
    metadata = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = ActivityQuerySet.as_manager()

    class Meta:
        ordering = ["-cursor"]
        verbose_name_plural = "activities"
        indexes = [
            # GET /api/activity?project_id=…, ?event_type=…, ?entity_type=…, newest first.
            models.Index(fields=["project", "-cursor"], name="activity_of_project"),
            models.Index(fields=["event_type", "-cursor"], name="activity_of_event_type"),
            models.Index(fields=["entity_type", "-cursor"], name="activity_of_entity_type"),
            models.Index(fields=["user", "-cursor"], name="activity_of_user"),
            models.Index(fields=["entity_id"], name="activity_of_entity"),
            # /activity?since=…: the days that a person looks at.
            models.Index(fields=["created_at"], name="activity_of_day"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(event_type__in=EventType.values), name="activity_event_type_is_known"
            ),
            models.CheckConstraint(
                condition=Q(entity_type__in=EntityType.values), name="activity_entity_type_is_known"
            ),
            models.CheckConstraint(
                condition=Q(status__in=Status.values), name="activity_status_is_known"
            ),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def is_news(self) -> bool:
        """Is anybody told of it by browser, push, e-mail or webhook?"""
        return self.metadata.get("action") not in FOLLOWS


class Cursor(models.Model):
    """One row: the number of the newest activity. Its row lock puts the writers in a line."""

    value = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return str(self.value)


class ReadMark(models.Model):
    """This user has read this activity."""

    activity = models.ForeignKey(Activity, on_delete=models.CASCADE, related_name="read_marks")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="read_marks"
    )
    read_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "activity"], name="one_read_mark_per_user")
        ]

    def __str__(self) -> str:
        return f"{self.user} read {self.activity}"


class ReadUpTo(models.Model):
    """This user has read everything up to this cursor, and by `ReadMark` some of what came after.

    Without it, a person who marks all of a long feed would leave a mark for each line, and each
    question for what is unread would go through all of them.
    """

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="read_up_to"
    )
    cursor = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.user} read up to {self.cursor}"
