"""What a job leaves behind while it runs: its numbers, events, checkpoints and files."""

from __future__ import annotations

from django.db import models

from training.models.jobs import Job


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
