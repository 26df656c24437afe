"""Recipes, experiments, jobs, and the machines they run on.

A job's status is written by `training.lifecycle.move` and by nothing else.
"""

from __future__ import annotations

import uuid
from typing import Any, Self

from django.conf import settings
from django.db import models
from django.db.models import Q

from accounts.models import Project
from accounts.scoping import ProjectScopedQuerySet
from registry.models import BaseModel, Dataset, Modality


class Method(models.TextChoices):
    FULL = "full"
    LORA = "lora"
    QLORA = "qlora"
    PRETRAIN = "pretrain", "Continued pre-training"
    DPO = "dpo", "DPO"
    ORPO = "orpo", "ORPO"
    KTO = "kto", "KTO"
    TEXT_CLASSIFICATION = "text_classification"
    IMAGE_CLASSIFICATION = "image_classification"


class Recipe(models.Model):
    """A way to train with sensible defaults: what the contract calls a template."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    project = models.ForeignKey(
        Project, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    name = models.SlugField(max_length=60)
    display_name = models.CharField(max_length=120)
    description = models.TextField(blank=True)
    method = models.CharField(max_length=30, choices=Method)
    modality = models.CharField(max_length=12, choices=Modality, default=Modality.TEXT)
    supports_quantized = models.BooleanField(default=False)
    defaults = models.JSONField(default=dict, blank=True)
    built_in = models.BooleanField(default=False, editable=False)
    # Counts the changes of what it does; `training.recipes.edit` keeps each earlier one.
    version = models.PositiveIntegerField(default=1, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = ProjectScopedQuerySet.as_manager()

    class Meta:
        ordering = ["-built_in", "display_name"]
        constraints = [
            models.CheckConstraint(
                condition=Q(method__in=Method.values), name="recipe_method_is_known"
            ),
            models.UniqueConstraint(
                fields=["name"], condition=Q(project=None), name="one_shared_recipe_per_name"
            ),
            models.UniqueConstraint(
                fields=["project", "name"], name="one_recipe_per_project_and_name"
            ),
        ]

    def __str__(self) -> str:
        return self.display_name


class RecipeVersion(models.Model):
    """What a recipe did before it was changed. What it does now is in the recipe itself."""

    recipe = models.ForeignKey(Recipe, on_delete=models.CASCADE, related_name="earlier")
    version = models.PositiveIntegerField()
    method = models.CharField(max_length=30, choices=Method)
    modality = models.CharField(max_length=12, choices=Modality)
    supports_quantized = models.BooleanField()
    defaults = models.JSONField()
    replaced_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-version"]
        constraints = [
            models.UniqueConstraint(
                fields=["recipe", "version"], name="one_row_per_version_of_a_recipe"
            )
        ]

    def __str__(self) -> str:
        return f"{self.recipe}, version {self.version}"


class Partition(models.Model):
    """A group of workers that a job is sent to."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.SlugField(max_length=60, unique=True)
    description = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Worker(models.Model):
    """One Celery worker on one machine. It says that it lives by keeping ``seen_at`` fresh."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=200, unique=True)
    partition = models.ForeignKey(Partition, on_delete=models.PROTECT, related_name="workers")
    # Another boot under the same name: whatever the one before was running is dead.
    boot_id = models.UUIDField()
    host_memory_mb = models.PositiveIntegerField(default=0)
    cpu_threads = models.PositiveIntegerField(default=1)
    seen_at = models.DateTimeField()
    started_at = models.DateTimeField()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def queue(self) -> str:
        """The Celery queue that only this worker consumes."""
        return f"worker.{self.name}"


class Device(models.Model):
    """A card that one run can have, or the CPU of a machine as one slot."""

    class Kind(models.TextChoices):
        CPU = "cpu"
        CUDA = "cuda"

    worker = models.ForeignKey(Worker, on_delete=models.CASCADE, related_name="devices")
    kind = models.CharField(max_length=4, choices=Kind)
    index = models.PositiveSmallIntegerField()
    name = models.CharField(max_length=100)
    gpu_type = models.CharField(max_length=40, blank=True)
    memory_mb = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ["kind", "index"]
        constraints = [
            models.UniqueConstraint(
                fields=["worker", "kind", "index"], name="one_row_per_device_of_a_worker"
            ),
            models.CheckConstraint(
                condition=Q(kind__in=["cpu", "cuda"]), name="device_kind_is_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.worker} {self.name}"


class Experiment(models.Model):
    """What is to be done: model, data, recipe and every setting. A job is one go at it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    project = models.ForeignKey(Project, null=True, on_delete=models.PROTECT, related_name="+")
    name = models.CharField(max_length=200)
    base_model = models.ForeignKey(BaseModel, on_delete=models.PROTECT, related_name="experiments")
    dataset = models.ForeignKey(Dataset, on_delete=models.PROTECT, related_name="experiments")
    recipe = models.ForeignKey(Recipe, on_delete=models.PROTECT, related_name="experiments")
    recipe_version = models.PositiveIntegerField(default=1)
    adapters = models.JSONField(default=list, blank=True)
    train = models.JSONField(default=dict)
    lora = models.JSONField(default=dict, blank=True)
    columns = models.JSONField(
        default=dict, blank=True, help_text="The column that each field of a row stands in."
    )
    resources = models.JSONField(default=dict)
    eval = models.JSONField(default=dict, blank=True)
    export = models.JSONField(default=list, blank=True)
    preflight = models.JSONField(default=dict, help_text="The report at creation.")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = ProjectScopedQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [models.Index(fields=["-created_at", "-id"], name="experiment_newest")]

    def __str__(self) -> str:
        return self.name


class Status(models.TextChoices):
    PENDING = "PENDING"
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    PAUSING = "PAUSING"
    PAUSED = "PAUSED"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


FINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})
# A trainer may be at work on it.
ACTIVE = frozenset({Status.RUNNING, Status.PAUSING})


class JobQuerySet(ProjectScopedQuerySet):
    def with_everything(self) -> Self:
        """What a row of the job list and the job's own page show, in one query."""
        return self.select_related(
            "experiment",
            "experiment__base_model",
            "experiment__dataset",
            "experiment__recipe",
            "worker",
        )


class Job(models.Model):
    """One go at an experiment::

        PENDING -> QUEUED -> RUNNING -> COMPLETED | FAILED | CANCELLED
                     ^          |
                     |          v
                     +-- PAUSED <- PAUSING

    `training.lifecycle.MOVES` has all of it.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    project = models.ForeignKey(Project, null=True, on_delete=models.PROTECT, related_name="+")
    experiment = models.ForeignKey(Experiment, on_delete=models.PROTECT, related_name="jobs")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    name = models.CharField(max_length=200)
    metadata = models.JSONField(default=dict, blank=True)
    priority = models.IntegerField(default=0, help_text="A higher one is started first.")

    status = models.CharField(max_length=10, choices=Status, default=Status.PENDING, editable=False)
    # Each start on a worker has its number. What an earlier one still says is not listened to.
    attempt = models.PositiveIntegerField(default=0, editable=False)
    celery_task_id = models.CharField(max_length=36, blank=True, editable=False)
    waiting_reason = models.CharField(max_length=300, blank=True, editable=False)
    cancel_requested_at = models.DateTimeField(null=True, editable=False)
    worker = models.ForeignKey(
        Worker, null=True, on_delete=models.SET_NULL, related_name="jobs", editable=False
    )
    runner_pid = models.PositiveIntegerField(null=True, editable=False)
    heartbeat_at = models.DateTimeField(null=True, editable=False)
    # Times it was lost without having come further than before.
    losses = models.PositiveIntegerField(default=0, editable=False)
    lost_at_step = models.PositiveIntegerField(default=0, editable=False)
    # How long it has held cards, summed over the cards that it has given back.
    gpu_seconds = models.FloatField(default=0, editable=False)

    step = models.PositiveIntegerField(default=0, editable=False)
    max_steps = models.PositiveIntegerField(null=True, editable=False)
    step_seconds = models.FloatField(null=True, editable=False)
    last_metrics = models.JSONField(default=dict, editable=False)
    evaluation = models.JSONField(default=dict, editable=False)
    failure = models.JSONField(null=True, editable=False)
    # What a completed job has made: {"kind": "base_model" or "adapter", "id", "name"}.
    result = models.JSONField(null=True, editable=False)
    # The last line of events.jsonl that has been taken over, and the number of the newest row
    # that a live page can ask for (`JobEvent.cursor`, `Metric.cursor`).
    trainer_seq = models.PositiveIntegerField(default=0, editable=False)
    cursor = models.PositiveIntegerField(default=0, editable=False)

    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    queued_at = models.DateTimeField(null=True, editable=False)
    started_at = models.DateTimeField(null=True, editable=False)
    finished_at = models.DateTimeField(null=True, editable=False)

    objects = JobQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(fields=["-created_at", "-id"], name="job_newest"),
            models.Index(fields=["project", "-created_at"], name="job_of_project"),
            # The scheduler's and the reconciler's questions; finished jobs are not in it.
            models.Index(
                fields=["status", "-priority", "queued_at"],
                condition=~Q(status__in=["COMPLETED", "FAILED", "CANCELLED"]),
                name="job_still_open",
            ),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=Status.values), name="job_status_is_known"
            ),
            models.CheckConstraint(
                condition=(
                    Q(status__in=["COMPLETED", "FAILED", "CANCELLED"], finished_at__isnull=False)
                    | (
                        ~Q(status__in=["COMPLETED", "FAILED", "CANCELLED"])
                        & Q(finished_at__isnull=True)
                    )
                ),
                name="job_has_finished_at_exactly_when_final",
            ),
            models.CheckConstraint(
                condition=Q(status="FAILED", failure__isnull=False)
                | (~Q(status="FAILED") & Q(failure__isnull=True)),
                name="job_has_failure_exactly_when_failed",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_final(self) -> bool:
        return self.status in FINAL

    @property
    def eta_s(self) -> float | None:
        """Seconds of training still to come, from the speed of the last steps."""
        if self.status not in ACTIVE or not self.max_steps or self.step_seconds is None:
            return None
        return round((self.max_steps - self.step) * self.step_seconds, 1)

    @property
    def progress(self) -> dict[str, Any]:
        percent = round(100 * self.step / self.max_steps, 1) if self.max_steps else 0.0
        return {
            "step": self.step,
            "max_steps": self.max_steps,
            "percent": percent,
            "eta_s": self.eta_s,
        }


class Lease(models.Model):
    """This device is this job's. The row is there as long as it is, so nobody gets it twice."""

    device = models.OneToOneField(Device, on_delete=models.CASCADE, related_name="lease")
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="leases")
    attempt = models.PositiveIntegerField()
    created_at = models.DateTimeField(auto_now_add=True)
    # When the worker was last told of it: a message that was lost is sent again.
    sent_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.device} for {self.job}"


class Metric(models.Model):
    """One logged step, or the evaluation after it."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="metrics")
    cursor = models.PositiveIntegerField()
    step = models.PositiveIntegerField()
    epoch = models.FloatField(null=True)
    loss = models.FloatField(null=True)
    learning_rate = models.FloatField(null=True)
    grad_norm = models.FloatField(null=True)
    tokens = models.PositiveBigIntegerField(null=True)
    tokens_per_s = models.FloatField(null=True)
    samples_per_s = models.FloatField(null=True)
    memory_mb = models.FloatField(null=True)
    logged_at = models.DateTimeField()

    class Meta:
        ordering = ["step"]
        constraints = [
            models.UniqueConstraint(fields=["job", "step"], name="one_metric_per_step"),
            models.UniqueConstraint(fields=["job", "cursor"], name="one_metric_per_cursor"),
        ]

    def __str__(self) -> str:
        return f"{self.job} step {self.step}"


class JobEvent(models.Model):
    """What happened to a job: its moves, and what its trainer told beside the steps."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="events")
    cursor = models.PositiveIntegerField()
    event = models.CharField(max_length=30)
    step = models.PositiveIntegerField(null=True)
    message = models.TextField(blank=True)
    facts = models.JSONField(default=dict)
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["cursor"]
        constraints = [
            models.UniqueConstraint(fields=["job", "cursor"], name="one_event_per_cursor")
        ]

    def __str__(self) -> str:
        return f"{self.job}: {self.event}"


class Checkpoint(models.Model):
    """A point that a run can go on from. The folder may be gone: only the newest are kept."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="checkpoints")
    step = models.PositiveIntegerField()
    path = models.CharField(max_length=1000)
    size_bytes = models.BigIntegerField()
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["step"]
        constraints = [
            models.UniqueConstraint(fields=["job", "step"], name="one_checkpoint_per_step")
        ]

    def __str__(self) -> str:
        return f"{self.job} step {self.step}"


class Artifact(models.Model):
    """A file that a finished job has made."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="artifacts")
    kind = models.CharField(max_length=20)
    path = models.CharField(max_length=1000)
    size_bytes = models.BigIntegerField()
    sha256 = models.CharField(max_length=64)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["kind", "path"]
        constraints = [
            models.UniqueConstraint(fields=["job", "path"], name="one_artifact_per_path")
        ]

    def __str__(self) -> str:
        return self.path
