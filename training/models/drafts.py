"""Jobs that somebody is still thinking about."""

from __future__ import annotations

import uuid
from typing import Any, Self

from django.conf import settings
from django.db import models

from accounts.models import Project
from training.models.jobs import Job
from training.models.probes import Probe


class DraftQuerySet(models.QuerySet["Draft"]):
    def of(self, user: Any) -> Self:
        """A draft is its owner's alone; a colleague is as much a stranger as anybody."""
        return self.filter(owner=user) if user.is_authenticated else self.none()

    def unfinished(self) -> Self:
        return self.filter(job=None)


class Draft(models.Model):
    """What has been said in the wizard so far. Once it has a ``job``, the wizard is over.

    ``answers`` has what was typed, also what cannot be, under the dotted names of the API:
    ``{"train.learning_rate": "2e-4"}``. What nobody has said is not in it and follows the recipe,
    the model and the data. ``done`` names the steps that were gone through, ``notes`` says what an
    answer to an early step has changed in later ones.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="drafts"
    )
    # Where the job will be; other members do not see the draft.
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="+")
    title = models.CharField(max_length=300, blank=True)
    answers = models.JSONField(default=dict, blank=True)
    done = models.JSONField(default=list, blank=True)
    notes = models.JSONField(default=list, blank=True)
    metadata = models.JSONField(default=dict, blank=True, help_text="What the job gets as its own.")
    # Counts the changes; ``tab`` is the page that made the last one, which need not be told of it.
    version = models.PositiveIntegerField(default=1)
    tab = models.CharField(max_length=32, blank=True)
    # What preflight was asked to measure last, and of which settings.
    probe = models.ForeignKey(
        Probe, null=True, blank=True, on_delete=models.SET_NULL, related_name="drafts"
    )
    probed = models.JSONField(default=dict, blank=True)
    job = models.OneToOneField(Job, null=True, on_delete=models.CASCADE, related_name="draft")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True, db_index=True)

    objects = DraftQuerySet.as_manager()

    class Meta:
        ordering = ["-updated_at", "-id"]
        indexes = [models.Index(fields=["owner", "-updated_at"], name="draft_of_owner")]

    def __str__(self) -> str:
        return self.title or "A new job"
