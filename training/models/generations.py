"""Prompts, their answers, and the models that are kept loaded to answer them."""

from __future__ import annotations

import uuid
from typing import Any, Self

from django.conf import settings
from django.db import models
from django.db.models import Q

from accounts.models import Project
from accounts.scoping import ProjectScopedQuerySet
from registry.models import Adapter, BaseModel
from training.models.jobs import Job, Status
from training.models.workers import Partition, Worker


class Answering(models.Model):
    """What answers, and on what: for one prompt, and for a model that is kept loaded.

    An adapter has its base model beside it; ``tuned_model`` has weights of its own, and
    ``base_model`` is what it was made from, where that is known. Of a model that nobody has tuned
    there is the ``base_model`` alone.
    """

    project = models.ForeignKey(Project, null=True, on_delete=models.CASCADE, related_name="+")
    base_model = models.ForeignKey(
        BaseModel, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    tuned_model = models.ForeignKey(
        BaseModel, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    adapter = models.ForeignKey(Adapter, null=True, on_delete=models.SET_NULL, related_name="+")
    gpus = models.PositiveSmallIntegerField(default=0, help_text="1: a card, 0: the CPU.")
    partition = models.ForeignKey(Partition, null=True, on_delete=models.SET_NULL, related_name="+")

    class Meta:
        abstract = True

    @property
    def key(self) -> dict[str, Any]:
        """What two have in common that one loaded model can answer."""
        names = ("project_id", "base_model_id", "tuned_model_id", "adapter_id", "gpus")
        return {name: getattr(self, name) for name in (*names, "partition_id")}

    @property
    def resources(self) -> dict[str, Any]:
        """As an experiment has them."""
        partition = str(self.partition_id) if self.partition_id else None
        return {"gpus": self.gpus, "partition_id": partition}

    @property
    def tuned(self) -> Adapter | BaseModel | None:
        return self.adapter or self.tuned_model

    @property
    def what(self) -> Adapter | BaseModel | None:
        """What is tried out."""
        return self.tuned or self.base_model


class Serving(Answering):
    """A model that is loaded on a device and answers prompts, one after the other, until nobody
    asks any more or somebody else needs the device."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    worker = models.ForeignKey(Worker, null=True, on_delete=models.SET_NULL, related_name="+")
    runner_pid = models.PositiveIntegerField(null=True)
    heartbeat_at = models.DateTimeField(null=True)
    gpu_seconds = models.FloatField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(fields=["worker"], condition=Q(ended_at=None), name="serving_now"),
        ]

    def __str__(self) -> str:
        return f"Prompts to {self.what or 'a model that is gone'}"


# A prompt is never prepared or paused, so it has fewer states than a job.
WAITING_OR_AT_WORK = (Status.QUEUED, Status.RUNNING)
STATUSES = (*WAITING_OR_AT_WORK, Status.COMPLETED, Status.FAILED, Status.CANCELLED)


class GenerationQuerySet(ProjectScopedQuerySet):
    def with_everything(self) -> Self:
        return self.select_related(
            "base_model", "tuned_model", "adapter", "job", "created_by", "worker"
        )


class Generation(Answering):
    """One prompt and what is answered. `training.playground.generations` moves it::

    QUEUED -> RUNNING -> COMPLETED | FAILED | CANCELLED
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    job = models.ForeignKey(
        Job, null=True, on_delete=models.SET_NULL, related_name="+", help_text="That has made it."
    )
    compare = models.BooleanField(default=False, help_text="With the base model's answer.")
    prompt = models.TextField(blank=True)
    messages = models.JSONField(default=list, blank=True)
    sampling = models.JSONField(default=dict, help_text="`training.trainer.orders.Sampling`.")
    time_limit_s = models.PositiveIntegerField()

    status = models.CharField(max_length=10, choices=Status, default=Status.QUEUED, editable=False)
    waiting_reason = models.CharField(max_length=300, blank=True, editable=False)
    cancel_requested_at = models.DateTimeField(null=True, editable=False)
    serving = models.ForeignKey(
        Serving, null=True, on_delete=models.SET_NULL, related_name="generations", editable=False
    )
    worker = models.ForeignKey(
        Worker, null=True, on_delete=models.SET_NULL, related_name="+", editable=False
    )
    # {"tuned": {"state", "text", "tokens", "prompt_tokens", "finish_reason", ...}, "base": ...}
    answers = models.JSONField(default=dict, editable=False)
    failure = models.JSONField(null=True, editable=False)
    # Grows with every change that an open page has to hear of.
    cursor = models.PositiveIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, editable=False)
    finished_at = models.DateTimeField(null=True, editable=False)

    objects = GenerationQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(fields=["-created_at", "-id", "project"], name="generation_newest"),
            models.Index(
                fields=["created_at"],
                condition=Q(status__in=["QUEUED", "RUNNING"]),
                name="generation_still_open",
            ),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=["QUEUED", "RUNNING"], finished_at__isnull=True)
                | Q(status__in=["COMPLETED", "FAILED", "CANCELLED"], finished_at__isnull=False),
                name="generation_has_finished_at_exactly_when_final",
            ),
            models.CheckConstraint(
                condition=Q(status="FAILED", failure__isnull=False)
                | (~Q(status="FAILED") & Q(failure__isnull=True)),
                name="generation_has_failure_exactly_when_failed",
            ),
            models.CheckConstraint(
                condition=Q(prompt="") | Q(messages=[]), name="generation_is_text_or_conversation"
            ),
        ]

    def __str__(self) -> str:
        return f"A prompt to {self.what or 'a model that is gone'}"

    @property
    def is_final(self) -> bool:
        return self.status not in WAITING_OR_AT_WORK

    @property
    def last_words(self) -> str:
        """What was asked last, for a list."""
        text: str = self.messages[-1]["content"] if self.messages else self.prompt
        return text[:200]

    @property
    def sides(self) -> tuple[str, ...]:
        """Who answers, in the order in which it is shown."""
        if self.compare:
            return ("tuned", "base")
        return ("tuned",) if self.tuned else ("base",)
