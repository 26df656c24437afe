"""A file that is being uploaded."""

from __future__ import annotations

import uuid
from pathlib import Path

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from accounts.models import Project
from accounts.scoping import ProjectScopedQuerySet


class Upload(models.Model):
    """What has come of a file. The row goes when the file has become a dataset, is no longer
    wanted, or was not continued in time.

    ``offset`` counts the bytes that are safely on the disk; the file may have more, which are
    written again.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="+")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    file_name = models.CharField(max_length=255)
    size_bytes = models.PositiveBigIntegerField()
    offset = models.PositiveBigIntegerField(default=0, editable=False)
    sha256 = models.CharField(max_length=64, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()

    objects = ProjectScopedQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(fields=["-created_at", "-id"], name="upload_newest"),
            models.Index(fields=["expires_at"], name="upload_expires"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(offset__lte=F("size_bytes")), name="upload_has_no_more_than_its_size"
            ),
        ]

    def __str__(self) -> str:
        return self.file_name

    @property
    def is_complete(self) -> bool:
        return self.offset == self.size_bytes

    @property
    def is_expired(self) -> bool:
        return self.expires_at < timezone.now()

    @property
    def percent(self) -> float:
        return round(100 * self.offset / self.size_bytes, 1) if self.size_bytes else 100.0

    @property
    def path(self) -> Path:
        return Path(settings.TRAINYARD_UPLOADS) / f"{self.pk}.part"
