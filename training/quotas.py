"""What a project may use of the cards, and what it has used.

A card counts from when it is given to a job (its lease) until it is given back. CPUs do not count.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import F, QuerySet, Sum
from django.utils import timezone

from accounts.models import Project
from training.models import Device, Job, Lease, Probe

SECONDS_PER_HOUR = 3600


@dataclass
class Use:
    """Cards held now, and GPU-hours until now: those of cards still held are in it."""

    gpus: int = 0
    gpu_hours: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        return {"gpus": self.gpus, "gpu_hours": round(self.gpu_hours, 3)}


def use_of(project: Project) -> dict[str, Any]:
    """``{"gpus", "gpu_hours"}``; the API of projects calls it by its name in the settings."""
    return used_by([project.pk])[project.pk].as_dict()


def used_by(projects: Collection[UUID]) -> dict[UUID, Use]:
    """Three queries, however many projects."""
    now = timezone.now()
    used: dict[UUID, Use] = defaultdict(Use)
    for model in (Job, Probe):  # a probe has no job any more once it is over
        of_ended = model.objects.filter(project__in=projects, gpu_seconds__gt=0).order_by()
        for project_id, seconds in of_ended.values_list("project").annotate(Sum("gpu_seconds")):
            used[project_id].gpu_hours += seconds / SECONDS_PER_HOUR
    held = Lease.objects.filter(job__project__in=projects, device__kind=Device.Kind.CUDA)
    for project_id, since in held.values_list("job__project", "created_at"):
        used[project_id].gpus += 1
        used[project_id].gpu_hours += (now - since).total_seconds() / SECONDS_PER_HOUR
    return used


def give_back(leases: QuerySet[Lease]) -> None:
    """End these leases, inside a transaction, and write down for how long cards were held.

    Two who end the same lease count it once: only the one that deletes the row counts it.
    """
    now = timezone.now()
    for lease in leases.select_related("device"):
        deleted, _ = Lease.objects.filter(pk=lease.pk).delete()
        if deleted and lease.device.kind == Device.Kind.CUDA:
            seconds = (now - lease.created_at).total_seconds()
            Job.objects.filter(pk=lease.job_id).update(gpu_seconds=F("gpu_seconds") + seconds)


def refusals(project: Project, resources: dict[str, Any]) -> list[str]:
    """Why a job with these resources can never run in the project, in sentences."""
    gpus = _gpus(resources)
    if not gpus:
        return []
    found = []
    if project.max_gpus is not None and gpus > project.max_gpus:
        found.append(
            f"Project {project} may use {_cards(project.max_gpus)} at the same time, and this job "
            f"asks for {gpus}."
        )
    if project.max_gpu_hours is not None and _are_used_up(project, used_by([project.pk])):
        found.append(f"Project {project} has used its {project.max_gpu_hours} GPU-hours.")
    return found


class Ledger:
    """What the projects of waiting jobs use, kept up to date while a plan is made."""

    def __init__(self, waiting: Iterable[Job]) -> None:
        projects = {job.project for job in waiting if job.project is not None}
        limited = [p.pk for p in projects if (p.max_gpus, p.max_gpu_hours) != (None, None)]
        self.used = used_by(limited) if limited else defaultdict(Use)

    def reason(self, job: Job) -> str:
        """Why the job's project may not have its cards now; empty when it may."""
        gpus, project = _gpus(job.experiment.resources), job.project
        if not gpus or project is None:
            return ""
        if _are_used_up(project, self.used):
            return f"Waits: project {project} has used its {project.max_gpu_hours} GPU-hours."
        held = self.used[project.pk].gpus
        if project.max_gpus is None or held + gpus <= project.max_gpus:
            return ""
        needs = "" if held >= project.max_gpus else f", and this job needs {gpus}"
        return f"Waits: project {project} uses {held} of its {_cards(project.max_gpus)}{needs}."

    def take(self, job: Job) -> None:
        if job.project is not None:
            self.used[job.project.pk].gpus += _gpus(job.experiment.resources)


def _are_used_up(project: Project, used: dict[UUID, Use]) -> bool:
    limit = project.max_gpu_hours
    return limit is not None and used[project.pk].gpu_hours >= limit


def _gpus(resources: dict[str, Any]) -> int:
    return int(resources.get("gpus") or 0)


def _cards(count: int) -> str:
    return f"{count} GPU{'' if count == 1 else 's'}"
