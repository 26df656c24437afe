"""Recipes, experiments, jobs, and the machines they run on."""

from training.models.drafts import Draft, DraftQuerySet
from training.models.generations import Generation, Serving
from training.models.jobs import ACTIVE, FINAL, Experiment, Job, JobQuerySet, Lease, Status
from training.models.measurements import Measurement
from training.models.probes import Probe
from training.models.recipes import Method, Recipe, RecipeVersion
from training.models.records import Artifact, Checkpoint, JobEvent, Metric
from training.models.token_counts import TokenCount
from training.models.workers import Device, Partition, Worker

__all__ = [
    "ACTIVE",
    "FINAL",
    "Artifact",
    "Checkpoint",
    "Device",
    "Draft",
    "DraftQuerySet",
    "Experiment",
    "Generation",
    "Job",
    "JobEvent",
    "JobQuerySet",
    "Lease",
    "Measurement",
    "Method",
    "Metric",
    "Partition",
    "Probe",
    "Recipe",
    "RecipeVersion",
    "Serving",
    "Status",
    "TokenCount",
    "Worker",
]
