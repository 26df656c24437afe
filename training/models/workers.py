"""The machines that jobs run on, and what they have."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q


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
    host_memory_free_mb = models.PositiveIntegerField(null=True)
    driver = models.CharField(max_length=40, blank=True, help_text="Of its NVIDIA cards.")
    cpu_threads = models.PositiveIntegerField(default=1)
    # What all its threads together reach in float32 products; None until it was measured.
    cpu_gflops = models.FloatField(null=True)
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
    # None where nobody can say; of a card it counts what any program has taken.
    memory_free_mb = models.PositiveIntegerField(null=True)
    compute_capability = models.CharField(max_length=8, blank=True)
    uuid = models.CharField(max_length=80, blank=True)
    # Of a MIG slice: the card that it is a part of.
    card_index = models.PositiveSmallIntegerField(null=True)

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

    @property
    def visible_as(self) -> str:
        """What CUDA_VISIBLE_DEVICES calls it: a slice has no number of its own."""
        return str(self.index) if self.card_index is None else self.uuid
