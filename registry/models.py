"""What the platform knows of: base models, datasets, adapters, each with its files on disk."""

from __future__ import annotations

import secrets
import time
import uuid
from typing import Any

from django.db import models
from django.db.models import Q

from accounts.models import Project
from accounts.scoping import ProjectScopedQuerySet


class Modality(models.TextChoices):
    TEXT = "text"
    IMAGE = "image"
    AUDIO = "audio"
    VIDEO = "video"
    MULTIMODAL = "multimodal"


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


class BaseModel(Entry):
    """A model to start a fine-tune from. Fields as in the API contract."""

    class Status(models.TextChoices):
        ACTIVE = "active"
        BROKEN = "broken"  # its files are gone or have changed

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
    hf_repo_id = models.CharField(max_length=200, blank=True)
    hf_revision = models.CharField(max_length=100, blank=True)
    tokenizer_path = models.CharField(max_length=1000, blank=True)
    model_card = models.TextField(blank=True)

    class Meta(Entry.Meta):
        abstract = False
        indexes = [
            # GET /api/base-models, newest first: page and total of any combination of filters
            # are read from here alone, without the wide rows.
            models.Index(
                fields=[
                    *("-created_at", "-id", "project", "family"),
                    *("stage", "modality", "trainable", "servable"),
                ],
                name="basemodel_list",
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
        """What reading its files found beside the fields: ``params`` (exact), ``dtypes``,
        ``quantization``, ``has_tokenizer``, ``has_chat_template``, ``weight_files``."""
        found = self.metadata.get("inspection")
        return found if isinstance(found, dict) else {}


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

    class Meta(Entry.Meta):
        abstract = False
        indexes = [
            # GET /api/datasets, newest first, with any filters; as above.
            models.Index(fields=["-created_at", "-id", "project", "modality"], name="dataset_list"),
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
