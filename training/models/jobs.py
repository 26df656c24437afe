"""Experiments and jobs.

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
from registry.models import BaseModel, Dataset
from training.models.recipes import Recipe
from training.models.workers import Device, Worker


class ExperimentQuerySet(ProjectScopedQuerySet):
    def visible_to(self, user: Any) -> Self:
        return super().visible_to(user).filter(is_probe=False)

    def with_names(self) -> Self:
        """What a row of a list shows, in one query: of what it was made from only the names."""
        return self.select_related("base_model", "dataset", "recipe").only(
            "name",
            "created_at",
            "base_model__name",
            "dataset__name",
            "dataset__version",
            "recipe__display_name",
        )


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
    # The checkpoint of another job that it goes on from; it has a copy of its own.
    resumed_job = models.ForeignKey(
        "training.Job", null=True, blank=True, on_delete=models.SET_NULL, related_name="branches"
    )
    resumed_step = models.PositiveIntegerField(null=True, blank=True)
    # Of a probe (`training.models.Probe`): shown there, and in no list of experiments.
    is_probe = models.BooleanField(default=False, editable=False)
    preflight = models.JSONField(default=dict, help_text="The report at creation.")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = ExperimentQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [
            # Lists, newest first, and words in names: read from here alone, not the wide rows.
            models.Index(
                fields=["-created_at", "-id", "is_probe", "project", "name"],
                name="experiment_list",
            ),
            models.Index(
                fields=["name", "-created_at", "-id", "is_probe", "project"],
                name="experiment_by_name",
            ),
            # Those of one model, dataset or recipe, and how many they are.
            *(
                models.Index(
                    fields=[what, "-created_at", "-id", "is_probe", "project"],
                    name=f"experiment_of_{what.removeprefix('base_')}",
                )
                for what in ("base_model", "dataset", "recipe")
            ),
            # Nearly all begin with the base model, so the index of all of them is left unused.
            models.Index(
                fields=["resumed_job"],
                condition=Q(resumed_job__isnull=False),
                name="experiment_that_resumes",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def resume_from_checkpoint(self) -> dict[str, Any] | None:
        """In the words of the API; None for a run that begins with the base model."""
        if self.resumed_step is None:
            return None
        job = str(self.resumed_job_id) if self.resumed_job_id else None
        return {"job_id": job, "step": self.resumed_step}


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
    def visible_to(self, user: Any) -> Self:
        """A probe's job is shown as the probe (`training.models.Probe`)."""
        return super().visible_to(user).filter(is_probe=False)

    def with_everything(self) -> Self:
        """What a row of the job list and the job's own page show, in one query."""
        return self.select_related(
            "experiment",
            "experiment__base_model",
            "experiment__dataset",
            "experiment__recipe",
            "worker",
        )

    def with_names(self) -> Self:
        """What a row of a list shows, in one query: of the job all but its long facts, of what it
        was made from no more than the names."""
        own = {field.name for field in self.model._meta.concrete_fields}
        return self.select_related(
            "experiment__base_model", "experiment__dataset", "experiment__recipe"
        ).only(
            *(own - {"metadata", "evaluation", "result"}),
            "experiment__name",
            "experiment__base_model__name",
            "experiment__dataset__name",
            "experiment__dataset__version",
            "experiment__recipe__display_name",
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
    is_probe = models.BooleanField(default=False, editable=False)

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
            # As of the experiments; words are also looked for in the names of their models.
            models.Index(
                fields=[
                    *("-created_at", "-id", "is_probe", "project"),
                    *("status", "name", "experiment"),
                ],
                name="job_list",
            ),
            # How many there are in each status, and those in one of them, newest first.
            models.Index(
                fields=[
                    *("status", "-created_at", "-id", "is_probe", "project"),
                    *("name", "experiment"),
                ],
                name="job_by_status",
            ),
            models.Index(
                fields=["name", "-created_at", "-id", "is_probe", "project"], name="job_by_name"
            ),
            models.Index(fields=["-finished_at", "-id", "is_probe", "project"], name="job_by_end"),
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
    """This device is this job's, or that of a model which answers prompts. The row is there as long
    as it is, so nobody gets it twice."""

    device = models.OneToOneField(Device, on_delete=models.CASCADE, related_name="lease")
    job = models.ForeignKey(Job, null=True, on_delete=models.CASCADE, related_name="leases")
    serving = models.OneToOneField(
        "training.Serving", null=True, on_delete=models.CASCADE, related_name="lease"
    )
    attempt = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    # When the worker was last told of it: a message that was lost is sent again.
    sent_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(job__isnull=False, serving__isnull=True)
                | Q(job__isnull=True, serving__isnull=False),
                name="lease_is_of_a_job_or_a_serving",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.device} for {self.of}"

    @property
    def of(self) -> Any:
        """The job or the serving that has the device."""
        return self.job or self.serving
