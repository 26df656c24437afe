"""What the platform knows of: base models, datasets, adapters, each with its files on disk."""

from __future__ import annotations

import secrets
import time
import uuid
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q

from accounts.models import Project
from accounts.scoping import ProjectScopedQuerySet
from registry.hub.models import BucketKey, HubToken, Transfer, TransferFile
from registry.uploads.model import Upload

__all__ = [
    "Adapter",
    "BaseModel",
    "BucketKey",
    "CodeReview",
    "Dataset",
    "Entry",
    "HubToken",
    "Modality",
    "RowFormat",
    "Stage",
    "Transfer",
    "TransferFile",
    "Upload",
]


class Modality(models.TextChoices):
    TEXT = "text"
    IMAGE = "image"
    AUDIO = "audio"
    VIDEO = "video"
    MULTIMODAL = "multimodal"


class RowFormat(models.TextChoices):
    """What the rows of a dataset are, as the doctor finds (`registry.doctor.rows`)."""

    PROMPT_COMPLETION = "prompt_completion", "Prompt and completion"
    CONVERSATION = "conversation", "Prompt and completion as messages"
    MESSAGES = "messages", "Messages"
    TEXT = "text", "Plain text"
    PREFERENCE = "preference", "Chosen and rejected"
    UNPAIRED_PREFERENCE = "unpaired_preference", "Judged true or false"
    LABELLED = "labelled", "Text and label"
    LABELLED_IMAGE = "labelled_image", "Image and label"


class Stage(models.TextChoices):
    STAGING = "staging"
    PRODUCTION = "production"
    ARCHIVED = "archived"


def next_number() -> int:
    """Grows with the time (microseconds), and no two processes come to the same one."""
    return time.time_ns() // 1000 * 1024 + secrets.randbelow(1024)


class Entry(models.Model):
    """What every entry of the registry has."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    # SQLite's word index knows rows by whole numbers only (`registry.search`).
    number = models.BigIntegerField(default=next_number, unique=True, editable=False)
    project = models.ForeignKey(
        Project, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    name = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    storage_path = models.CharField(max_length=1000, blank=True)
    size_bytes = models.BigIntegerField(default=0)
    checksum = models.CharField(max_length=64, blank=True, help_text="SHA-256 of the manifest.")
    verified_at = models.DateTimeField(
        null=True, editable=False, help_text="When all its files were last read again."
    )
    tags = models.JSONField(default=list, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = ProjectScopedQuerySet.as_manager()

    class Meta:
        abstract = True
        ordering = ["-created_at", "-id"]

    def __str__(self) -> str:
        return self.name


# What lists of models, and of datasets, are narrowed by.
_NARROWED = ("project", "family", "stage", "modality", "trainable", "servable")
_NARROWED_DATASETS = (
    *("project", "modality", "integrity_checked", "integrity_passed", "row_format", "is_split"),
)


class BaseModel(Entry):
    """A model to start a fine-tune from. Fields as in the API contract."""

    class Status(models.TextChoices):
        ACTIVE = "active"
        BROKEN = "broken"  # its files are gone, have changed or could not be read

    family = models.CharField(max_length=60, blank=True)
    params_b = models.FloatField(null=True, blank=True, help_text="Parameters in billions.")
    dtype = models.CharField(max_length=20, blank=True)
    context_length = models.PositiveIntegerField(null=True, blank=True)
    hidden_size = models.PositiveIntegerField(null=True, blank=True)
    num_layers = models.PositiveIntegerField(null=True, blank=True)
    vocab_size = models.PositiveIntegerField(null=True, blank=True)
    architecture = models.CharField(max_length=100, blank=True)
    modality = models.CharField(max_length=12, choices=Modality, default=Modality.TEXT)
    trainable = models.BooleanField(default=True)
    servable = models.BooleanField(default=True)
    quantized = models.BooleanField(default=False)
    is_gguf = models.BooleanField(default=False)
    stage = models.CharField(max_length=10, choices=Stage, default=Stage.STAGING)
    status = models.CharField(max_length=10, choices=Status, default=Status.ACTIVE)
    check_heard_at = models.DateTimeField(
        null=True,
        editable=False,
        help_text="While a worker is asked to read its files again: when that was last heard of.",
    )
    check_attempt = models.PositiveIntegerField(
        default=0,
        editable=False,
        help_text="How often a worker has begun to; 0 again when one has come to the end.",
    )
    hf_repo_id = models.CharField(max_length=200, blank=True)
    hf_revision = models.CharField(max_length=100, blank=True)
    tokenizer_path = models.CharField(max_length=1000, blank=True)
    model_card = models.TextField(blank=True)

    class Meta(Entry.Meta):
        abstract = False
        indexes = [
            # GET /api/base-models, newest first: page and total of any combination of filters
            # are read from here alone, without the wide rows.
            # The reconciler, every few seconds.
            models.Index(
                fields=["check_heard_at"],
                condition=Q(check_heard_at__isnull=False),
                name="basemodel_being_checked",
            ),
            models.Index(fields=["-created_at", "-id", *_NARROWED], name="basemodel_list"),
            # /models in its other orders. /storage asks for the largest too.
            models.Index(fields=["name", "-created_at", "-id", *_NARROWED], name="basemodel_name"),
            models.Index(
                fields=["-params_b", "-created_at", "-id", *_NARROWED], name="basemodel_params"
            ),
            models.Index(
                fields=["-size_bytes", "-created_at", "-id", *_NARROWED], name="basemodel_size"
            ),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(modality__in=Modality.values), name="basemodel_modality_is_known"
            ),
            models.CheckConstraint(
                condition=Q(stage__in=Stage.values), name="basemodel_stage_is_known"
            ),
            models.CheckConstraint(
                condition=Q(status__in=["active", "broken"]), name="basemodel_status_is_known"
            ),
        ]

    @property
    def config(self) -> dict[str, Any] | None:
        """Its Hugging Face config.json, where known."""
        config = self.metadata.get("config")
        return config if isinstance(config, dict) else None

    @property
    def inspection(self) -> dict[str, Any]:
        """What reading its files found beside the fields (`registry.facts.found_in`)."""
        found = self.metadata.get("inspection")
        return found if isinstance(found, dict) else {}

    @property
    def file_problems(self) -> list[str]:
        """What the last look at its files found, one sentence each; of a broken model."""
        found = self.inspection.get("file_problems")
        return found if isinstance(found, list) else []

    @property
    def why_broken(self) -> str:
        """In one sentence; of a broken model."""
        return (self.file_problems or ["Its files are gone or have changed."])[0]

    @property
    def failed_check(self) -> dict[str, str] | None:
        """Why the last check of its files came to no result (`inspect.Finding`), where it did not.
        Its message is one of the ``file_problems``."""
        failed = self.inspection.get("failed_check")
        return failed if isinstance(failed, dict) else None


class Dataset(Entry):
    """Rows to train on, and what the check of their files found."""

    version = models.CharField(max_length=40, default="1.0")
    modality = models.CharField(max_length=12, choices=Modality, default=Modality.TEXT)
    num_samples = models.PositiveBigIntegerField(null=True, blank=True)
    manifest_path = models.CharField(max_length=1000, blank=True)
    integrity_checked = models.BooleanField(default=False)
    integrity_passed = models.BooleanField(default=False)
    integrity_report = models.JSONField(default=dict, blank=True)
    statistics = models.JSONField(default=dict, blank=True)
    # Out of the statistics (`learn`): a filter reads them from an index, and no document.
    row_format = models.CharField(max_length=30, blank=True, editable=False)
    is_split = models.BooleanField(
        default=False, editable=False, help_text="Whether its rows are in more than one split."
    )
    columns = models.JSONField(
        default=dict,
        blank=True,
        help_text="Which column of the files each field of a row stands in, where not under its "
        "own name. The check found it or was told; jobs that say nothing else read by it.",
    )

    class Meta(Entry.Meta):
        abstract = False
        indexes = [
            # GET /api/datasets, newest first, with any filters; as above.
            models.Index(fields=["-created_at", "-id", *_NARROWED_DATASETS], name="dataset_list"),
            # /datasets in its other orders. /storage asks for the largest too.
            models.Index(
                fields=["name", "-created_at", "-id", *_NARROWED_DATASETS], name="dataset_name"
            ),
            models.Index(
                fields=["-num_samples", "-created_at", "-id", *_NARROWED_DATASETS],
                name="dataset_rows",
            ),
            models.Index(
                fields=["-size_bytes", "-created_at", "-id", *_NARROWED_DATASETS],
                name="dataset_size",
            ),
            # The versions of one, newest first.
            models.Index(fields=["name", "project", "-created_at", "-id"], name="dataset_versions"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(modality__in=Modality.values), name="dataset_modality_is_known"
            ),
            models.CheckConstraint(
                condition=Q(integrity_passed=False) | Q(integrity_checked=True),
                name="dataset_passed_only_what_was_checked",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    def learn(self, statistics: dict[str, Any]) -> None:
        """What the check of its rows has counted."""
        self.statistics = statistics
        self.row_format = statistics.get("row_format", "")
        self.is_split = len(statistics.get("splits", ())) > 1


class DatasetTask(models.Model):
    """What the doctor was asked to do with a dataset and takes longer than a request may: to check
    it, or to make a repaired copy. The database is the truth, the broker only rings a bell."""

    class Kind(models.TextChoices):
        CHECK = "check"
        REPAIR = "repair"

    class Status(models.TextChoices):
        WAITING = "waiting"
        RUNNING = "running"
        DONE = "done"
        FAILED = "failed"

    class Step(models.TextChoices):
        """What a running one is at."""

        UNPACKING = "unpacking"
        READING = "reading"

    OPEN = (Status.WAITING, Status.RUNNING)

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="tasks")
    kind = models.CharField(max_length=10, choices=Kind)
    status = models.CharField(max_length=10, choices=Status, default=Status.WAITING)
    step = models.CharField(max_length=10, choices=Step, default=Step.READING)
    options = models.JSONField(default=dict, blank=True)
    rows = models.PositiveBigIntegerField(default=0, help_text="Read so far.")
    read_bytes = models.PositiveBigIntegerField(default=0)
    size_bytes = models.PositiveBigIntegerField(default=0)
    message = models.TextField(blank=True, help_text="Why it failed.")
    result = models.ForeignKey(
        Dataset, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    attempt = models.PositiveIntegerField(default=0)
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [
            # The reconciler, every few seconds: what is not over.
            models.Index(
                fields=["heartbeat_at"],
                condition=Q(status__in=["waiting", "running"]),
                name="datasettask_open",
            ),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=["waiting", "running", "done", "failed"]),
                name="datasettask_status_is_known",
            ),
            models.CheckConstraint(
                condition=Q(kind__in=["check", "repair"]), name="datasettask_kind_is_known"
            ),
            models.UniqueConstraint(
                fields=["dataset"],
                condition=Q(kind="check", status__in=["waiting", "running"]),
                name="one_open_check_of_a_dataset",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} of {self.dataset}"

    @property
    def is_open(self) -> bool:
        return self.status in self.OPEN

    @property
    def percent(self) -> int:
        """Of its bytes; rows that have been read are still to be compared at 100."""
        return min(100 * self.read_bytes // max(self.size_bytes, 1), 100)


class Adapter(Entry):
    """What a LoRA run leaves: a small addition to one base model."""

    base_model = models.ForeignKey(BaseModel, on_delete=models.PROTECT, related_name="adapters")
    method = models.CharField(max_length=20)
    r = models.PositiveIntegerField(null=True, blank=True)
    lora_alpha = models.PositiveIntegerField(null=True, blank=True)
    target_modules = models.JSONField(default=list, blank=True)
    model_card = models.TextField(blank=True)

    class Meta(Entry.Meta):
        abstract = False
        indexes = [
            # GET /api/adapters and /models, newest first; and those of one model.
            models.Index(fields=["-created_at", "-id", "project", "method"], name="adapter_list"),
            models.Index(fields=["base_model", "-created_at", "-id"], name="adapter_of_model"),
            models.Index(fields=["-size_bytes", "project"], name="adapter_largest"),
        ]


class CodeReview(models.Model):
    """Python files that a model loads with, and whether somebody of the staff has approved them."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    sha256 = models.CharField(max_length=64, unique=True, help_text="Of all its files together.")
    files = models.JSONField(help_text="Name and SHA-256 of each.")
    found_in = models.CharField(max_length=1000, help_text="The folder where it was first seen.")
    approved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    approved_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created_at", "-id"]

    def __str__(self) -> str:
        return f"Code {self.sha256[:12]} of {Path(self.found_in).name}"

    @property
    def is_approved(self) -> bool:
        return self.approved_at is not None
