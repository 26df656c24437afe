"""What was said of a run before it began, and what it took: the state of the calibration."""

from __future__ import annotations

from django.db import models

from accounts.models import Project
from accounts.scoping import ProjectScopedQuerySet
from training.models.jobs import Job


class Measurement(models.Model):
    """One attempt at a job, or a probe.

    ``memory_ratio`` and ``time_ratio`` are measured by estimated, the estimate without any
    correction: what the next ones learn from. They are empty where the difference would say nothing
    of the formulas, because the run never saw its longest rows, say.
    """

    project = models.ForeignKey(Project, null=True, on_delete=models.CASCADE, related_name="+")
    # A probe's job goes when the probe is over; what it has measured stays.
    job = models.ForeignKey(
        Job, null=True, on_delete=models.SET_NULL, related_name="measurements", editable=False
    )
    attempt = models.PositiveIntegerField()
    name = models.CharField(max_length=200, help_text="Of the job.")
    model_name = models.CharField(max_length=200)
    of_probe = models.BooleanField(default=False)

    card = models.CharField(max_length=40)
    method = models.CharField(max_length=40)
    strategy = models.CharField(max_length=10)
    formulas = models.PositiveIntegerField()
    steps = models.PositiveIntegerField(help_text="How many of them were measured.")

    predicted_peak_mb = models.FloatField()
    measured_peak_mb = models.FloatField()
    predicted_step_ms = models.FloatField()
    measured_step_ms = models.FloatField(null=True)
    memory_ratio = models.FloatField(null=True)
    time_ratio = models.FloatField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = ProjectScopedQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [
            # What a preflight asks for: the newest of a card.
            models.Index(fields=["card", "formulas", "-created_at"], name="measurement_of_card"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["job", "attempt"], name="one_measurement_per_attempt"),
        ]

    def __str__(self) -> str:
        return f"{self.name}, attempt {self.attempt}"
