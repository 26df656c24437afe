"""Transfers, their files, and the tokens that open the hub.

A transfer's status is written by `registry.hub.lifecycle.move` and by nothing else.
"""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q

from accounts import secrets
from accounts.models import Project
from accounts.scoping import ProjectScopedQuerySet


class Kind(models.TextChoices):
    HF_DATASET = "hf_dataset", "Dataset from the hub"
    HF_MODEL = "hf_model", "Model from the hub"
    HF_UPLOAD = "hf_upload", "Model to the hub"
    URL_DATASET = "url_dataset", "Dataset from a web address"
    URL_MODEL = "url_model", "Model from a web address"
    S3_DATASET = "s3_dataset", "Dataset from a bucket"
    S3_MODEL = "s3_model", "Model from a bucket"


class Status(models.TextChoices):
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class Phase(models.TextChoices):
    """What a running transfer is at."""

    LISTING = "listing", "Asking for the files"
    MOVING = "moving", "Moving bytes"
    CHECKING = "checking", "Checking what has come"


FINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})


class Transfer(models.Model):
    """One dataset or model on its way::

        QUEUED <-> RUNNING -> COMPLETED | FAILED | CANCELLED
           ^          |
           +- PAUSED <+

    `registry.hub.lifecycle.MOVES` has all of it.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    project = models.ForeignKey(Project, null=True, on_delete=models.PROTECT, related_name="+")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    kind = models.CharField(max_length=20, choices=Kind)
    name = models.CharField(max_length=200, help_text="Of the dataset or model in the registry.")
    hf_repo_id = models.CharField(max_length=200, blank=True)
    # https://… of one file, or s3://bucket/folder.
    url = models.CharField(max_length=2000, blank=True)
    # Of a bucket: the server that it is on, if that is not Amazon's, and the region of the bucket.
    endpoint_url = models.CharField(max_length=400, blank=True)
    region = models.CharField(max_length=40, blank=True)
    hf_revision = models.CharField(max_length=100, default="main")
    # What the revision was when the transfer began: a branch that moves meanwhile changes nothing.
    hf_commit = models.CharField(max_length=64, blank=True, editable=False)
    allow_patterns = models.JSONField(default=list, blank=True)
    ignore_patterns = models.JSONField(default=list, blank=True)
    bandwidth_limit = models.PositiveBigIntegerField(
        null=True, blank=True, help_text="Bytes a second. Empty: no limit of its own."
    )
    # The entry that a download makes, or that an upload sends.
    entry_id = models.UUIDField(default=uuid.uuid4)
    # Of an upload: the job's other exports that go with it; whether a new repository is private.
    exports = models.JSONField(default=list, blank=True)
    private = models.BooleanField(default=True)

    status = models.CharField(max_length=10, choices=Status, default=Status.QUEUED, editable=False)
    phase = models.CharField(max_length=10, choices=Phase, blank=True, editable=False)
    # Each start on a worker has its number. What an earlier one still says is not listened to.
    attempt = models.PositiveIntegerField(default=1, editable=False)
    waiting_reason = models.CharField(max_length=300, blank=True, editable=False)
    not_before = models.DateTimeField(null=True, editable=False)
    # When a worker was last told of it: a message that was lost is sent again.
    sent_at = models.DateTimeField(null=True, editable=False)
    worker = models.CharField(max_length=200, blank=True, editable=False)
    heartbeat_at = models.DateTimeField(null=True, editable=False)
    # How often in a row it went wrong without having come further, and how far it was then.
    tries = models.PositiveIntegerField(default=0, editable=False)
    bytes_at_last_try = models.BigIntegerField(default=0, editable=False)

    size_bytes = models.BigIntegerField(null=True, editable=False)
    bytes_transferred = models.BigIntegerField(default=0, editable=False)
    files_total = models.PositiveIntegerField(null=True, editable=False)
    files_done = models.PositiveIntegerField(default=0, editable=False)
    rate_bytes_s = models.FloatField(null=True, editable=False)
    # Sentences worth knowing: a repository that has been renamed, files that stay where they are.
    notes = models.JSONField(default=list, editable=False)
    left_out = models.JSONField(default=list, editable=False)
    failure = models.JSONField(null=True, editable=False)
    # {"kind": "dataset" or "base_model", "id", "name"}, or of an upload {"kind": "commit", "url"}.
    result = models.JSONField(null=True, editable=False)

    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    queued_at = models.DateTimeField(null=True, editable=False)
    started_at = models.DateTimeField(null=True, editable=False)
    finished_at = models.DateTimeField(null=True, editable=False)

    objects = ProjectScopedQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [
            # /transfers in its two orders.
            models.Index(
                fields=["-created_at", "-id", "project", "status", "kind"], name="transfer_newest"
            ),
            models.Index(
                fields=["name", "-created_at", "-id", "project", "status", "kind"],
                name="transfer_name",
            ),
            models.Index(fields=["project", "-created_at"], name="transfer_of_project"),
            # How many there are in each status, and those in one of them, newest first.
            models.Index(
                fields=["status", "-created_at", "-id", "project", "kind", "name", "hf_repo_id"],
                name="transfer_by_status",
            ),
            # The dispatcher's and the reconciler's questions; finished ones are not in it.
            models.Index(
                fields=["status", "queued_at"],
                condition=Q(status__in=["QUEUED", "RUNNING"]),
                name="transfer_still_open",
            ),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(kind__in=Kind.values), name="transfer_kind_is_known"
            ),
            models.CheckConstraint(
                condition=Q(status__in=Status.values), name="transfer_status_is_known"
            ),
            models.CheckConstraint(
                condition=Q(hf_repo_id="") ^ Q(url=""), name="transfer_has_one_place_to_go_to"
            ),
            models.CheckConstraint(
                condition=(
                    Q(status__in=["COMPLETED", "FAILED", "CANCELLED"], finished_at__isnull=False)
                    | (
                        ~Q(status__in=["COMPLETED", "FAILED", "CANCELLED"])
                        & Q(finished_at__isnull=True)
                    )
                ),
                name="transfer_has_finished_at_exactly_when_final",
            ),
            models.CheckConstraint(
                condition=Q(status="FAILED", failure__isnull=False)
                | (~Q(status="FAILED") & Q(failure__isnull=True)),
                name="transfer_has_failure_exactly_when_failed",
            ),
            models.CheckConstraint(
                condition=Q(status="COMPLETED", result__isnull=False)
                | (~Q(status="COMPLETED") & Q(result__isnull=True)),
                name="transfer_has_result_exactly_when_completed",
            ),
        ]

    def __str__(self) -> str:
        """Without what follows a "?", which may be a permission."""
        return self.hf_repo_id or self.url.partition("?")[0]

    @property
    def is_final(self) -> bool:
        return self.status in FINAL

    @property
    def is_upload(self) -> bool:
        return self.kind == Kind.HF_UPLOAD

    @property
    def is_from_the_web(self) -> bool:
        return self.kind in (Kind.URL_DATASET, Kind.URL_MODEL)

    @property
    def is_from_a_bucket(self) -> bool:
        return self.kind in (Kind.S3_DATASET, Kind.S3_MODEL)

    @property
    def makes(self) -> str:
        """What a download becomes: "model" or "dataset"."""
        makes_a_model = self.kind in (Kind.HF_MODEL, Kind.URL_MODEL, Kind.S3_MODEL)
        return "model" if makes_a_model else "dataset"

    @property
    def percent(self) -> float:
        if self.status == Status.COMPLETED:
            return 100.0
        if not self.size_bytes:
            return 0.0
        return min(round(100 * self.bytes_transferred / self.size_bytes, 1), 100.0)

    @property
    def eta_s(self) -> float | None:
        """Seconds still to come, from the rate of the last seconds."""
        if self.status != Status.RUNNING or not self.rate_bytes_s or self.size_bytes is None:
            return None
        # What had to be sent twice counts twice, for a moment.
        return max(round((self.size_bytes - self.bytes_transferred) / self.rate_bytes_s, 1), 0.0)

    @property
    def progress(self) -> dict[str, Any]:
        return {
            "percent": self.percent,
            "bytes_transferred": self.bytes_transferred,
            "size_bytes": self.size_bytes,
            "files_done": self.files_done,
            "files_total": self.files_total,
            "rate_bytes_s": self.rate_bytes_s if self.status == Status.RUNNING else None,
            "eta_s": self.eta_s,
        }


class TransferFile(models.Model):
    """One file of a transfer, as the hub lists it at the pinned commit."""

    transfer = models.ForeignKey(Transfer, on_delete=models.CASCADE, related_name="files")
    path = models.CharField(max_length=1000)
    size_bytes = models.BigIntegerField()
    # What the hub says that it hashes to: "sha256:…" of LFS files, "git-sha1:…" of others. Of a
    # bucket "etag:…", the version of the file.
    expected = models.CharField(max_length=80, blank=True)
    # Of what has come, once it has been compared; empty until then.
    sha256 = models.CharField(max_length=64, blank=True)

    class Meta:
        ordering = ["path"]
        constraints = [
            models.UniqueConstraint(fields=["transfer", "path"], name="one_row_per_file")
        ]

    def __str__(self) -> str:
        return self.path

    @property
    def is_done(self) -> bool:
        return bool(self.sha256)


class HubToken(models.Model):
    """What a project shows the hub: for gated and private repositories, and for uploads.

    Encrypted, and shown to nobody: not by the API, not by the admin.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    project = models.OneToOneField(Project, on_delete=models.CASCADE, related_name="hub_token")
    encrypted = models.TextField(editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = ProjectScopedQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-id"]

    def __str__(self) -> str:
        return f"The hub token of {self.project}"

    @property
    def secret(self) -> str:
        """Raises CannotDecrypt where SECRET_KEY has changed."""
        return secrets.decrypt(self.encrypted)


class BucketKey(models.Model):
    """What a project shows a server of buckets (S3): one key for each server.

    The secret is encrypted, and shown to nobody: not by the API, not by the admin.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="bucket_keys")
    endpoint_url = models.CharField(max_length=400, blank=True, help_text="Empty: Amazon S3.")
    access_key_id = models.CharField(max_length=200)
    encrypted = models.TextField(editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = ProjectScopedQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["project", "endpoint_url"], name="one_bucket_key_for_each_server"
            )
        ]

    def __str__(self) -> str:
        return f"The key of {self.project} for {self.server}"

    @property
    def server(self) -> str:
        return self.endpoint_url or "Amazon S3"

    @property
    def secret(self) -> str:
        """Raises CannotDecrypt where SECRET_KEY has changed."""
        return secrets.decrypt(self.encrypted)
