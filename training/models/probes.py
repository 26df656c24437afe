"""A few real steps of an experiment, to measure what it needs."""

from __future__ import annotations

import uuid
from typing import Any, Self

from django.conf import settings
from django.db import models
from django.db.models import Q

from accounts.models import Project
from accounts.scoping import ProjectScopedQuerySet
from registry.models import BaseModel, Dataset
from training.models.jobs import Job, Status
from training.models.recipes import Recipe


class ProbeQuerySet(ProjectScopedQuerySet):
    def with_everything(self) -> Self:
        return self.select_related("job", "job__worker")


class Probe(models.Model):
    """While it is under way it has a job, which no list of jobs shows; the job's row and its files
    go when it is over. What is left is this row.
    """

    class Outcome(models.TextChoices):
        MEASURED = "measured"
        OUT_OF_MEMORY = "out_of_memory"
        FAILED = "failed"
        CANCELLED = "cancelled"

    # What a preflight judges, under the names it has in a plan.
    PLAN = (
        "base_model", "dataset", "recipe", "columns", "train", "lora", "resources", "eval",
        "export",
    )  # fmt: skip

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    project = models.ForeignKey(Project, null=True, on_delete=models.CASCADE, related_name="+")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    job = models.OneToOneField(
        Job, null=True, on_delete=models.SET_NULL, related_name="probe", editable=False
    )
    # What was asked for; the rows may be gone by the time somebody looks.
    base_model = models.ForeignKey(
        BaseModel, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    dataset = models.ForeignKey(Dataset, null=True, on_delete=models.SET_NULL, related_name="+")
    recipe = models.ForeignKey(Recipe, null=True, on_delete=models.SET_NULL, related_name="+")
    train = models.JSONField(default=dict)
    lora = models.JSONField(default=dict)
    resources = models.JSONField(default=dict)
    columns = models.JSONField(default=dict)
    # Of the run that is asked about; the probe's own job measures nothing and exports nothing.
    eval = models.JSONField(default=dict)
    export = models.JSONField(default=list)
    preflight = models.JSONField(default=dict, help_text="The report before the probe.")

    outcome = models.CharField(max_length=15, choices=Outcome, blank=True, editable=False)
    result = models.JSONField(null=True, editable=False)
    failure = models.JSONField(null=True, editable=False)
    gpu_seconds = models.FloatField(default=0, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, editable=False)
    finished_at = models.DateTimeField(null=True, editable=False)

    objects = ProbeQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [models.Index(fields=["-created_at", "-id"], name="probe_newest")]
        constraints = [
            models.CheckConstraint(
                condition=Q(outcome="", finished_at__isnull=True)
                | (
                    Q(outcome__in=["measured", "out_of_memory", "failed", "cancelled"])
                    & Q(finished_at__isnull=False)
                ),
                name="probe_has_outcome_exactly_when_finished",
            ),
        ]

    def __str__(self) -> str:
        return f"Probe of {self.base_model or 'a model that is gone'}"

    @property
    def status(self) -> str:
        """As that of a job. To run out of memory is a result, not a failure."""
        ended = {
            self.Outcome.MEASURED: Status.COMPLETED,
            self.Outcome.OUT_OF_MEMORY: Status.COMPLETED,
            self.Outcome.FAILED: Status.FAILED,
            self.Outcome.CANCELLED: Status.CANCELLED,
        }
        if self.outcome:
            return str(ended[self.Outcome(self.outcome)])
        return str(self.job.status) if self.job else str(Status.PENDING)

    @property
    def waiting_reason(self) -> str:
        return self.job.waiting_reason if self.job and not self.outcome else ""

    @property
    def facts(self) -> dict[str, Any]:
        """The part of the preflight's ``confidence`` that says which kind it is."""
        confidence: dict[str, Any] = self.preflight.get("confidence") or {}
        return confidence
