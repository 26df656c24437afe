"""What a project may use of the cards and of the disk, and what it has used.

A card counts from when it is given to a job, or to a model that answers prompts (its lease), until
it is given back. CPUs do not count.
Of the disk, `registry.quotas` counts what is registered, and here is added what else jobs export.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import F, Q, QuerySet, Sum
from django.utils import timezone

from accounts.models import Project
from registry import quotas as storage
from training.models import Artifact, Device, Job, Lease, Probe, Serving

SECONDS_PER_HOUR = 3600
REGISTERED_EXPORT = "safetensors"


@dataclass
class Use:
    """Cards held now, and GPU-hours until now: those of cards still held are in it."""

    gpus: int = 0
    gpu_hours: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        return {"gpus": self.gpus, "gpu_hours": round(self.gpu_hours, 3)}


def use_of(project: Project) -> dict[str, Any]:
    """``{"gpus", "gpu_hours", "storage_bytes"}``; asked for by its name in the settings."""
    return {**used_by([project.pk])[project.pk].as_dict(), "storage_bytes": bytes_of(project)}


def bytes_of(project: Project) -> int:
    """The files of a project below TRAINYARD_HOME. The first form of a result is registered and
    counted there; it may have been exported in others."""
    others = Artifact.objects.filter(job__project=project).exclude(kind=REGISTERED_EXPORT)
    exported = others.aggregate(total=Sum("size_bytes"))["total"] or 0
    return storage.bytes_of([project.pk])[project.pk] + int(exported)


def used_by(projects: Collection[UUID]) -> dict[UUID, Use]:
    """Four queries, however many projects."""
    now = timezone.now()
    used: dict[UUID, Use] = defaultdict(Use)
    for model in (Job, Probe, Serving):  # a probe has no job any more once it is over
        of_ended = model.objects.filter(project__in=projects, gpu_seconds__gt=0).order_by()
        for project_id, seconds in of_ended.values_list("project").annotate(Sum("gpu_seconds")):
            used[project_id].gpu_hours += seconds / SECONDS_PER_HOUR
    ours = Q(job__project__in=projects) | Q(serving__project__in=projects)
    held = Lease.objects.filter(ours, device__kind=Device.Kind.CUDA)
    owners = held.values_list("job__project", "serving__project", "created_at")
    for of_job, of_serving, since in owners:
        project_id = of_job or of_serving
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
            change = {"gpu_seconds": F("gpu_seconds") + seconds}
            if lease.job_id:
                Job.objects.filter(pk=lease.job_id).update(**change)
            elif lease.serving_id:
                Serving.objects.filter(pk=lease.serving_id).update(**change)


def refusals(
    project: Project, resources: dict[str, Any], hours: float | None, result_bytes: int
) -> list[str]:
    """Why a job with these resources, that leaves so much, can never run in the project, which has
    so many hours left."""
    return [*refused_cards(project, resources, hours), *_refused_room(project, result_bytes)]


def _refused_room(project: Project, result_bytes: int) -> list[str]:
    reason = storage.refusal(project, result_bytes)
    return [f"The result needs room: {reason[0].lower()}{reason[1:]}"] if reason else []


def hours_left(project: Project, resources: dict[str, Any]) -> float | None:
    """GPU-hours that the project may still use; None where nobody counts them: there is no quota,
    or no card is asked for."""
    if project.max_gpu_hours is None or not _gpus(resources):
        return None
    return project.max_gpu_hours - used_by([project.pk])[project.pk].gpu_hours


def refused_cards(project: Project, resources: dict[str, Any], hours: float | None) -> list[str]:
    """Why nothing with these resources can ever run in the project, which has so many hours left
    (`hours_left`)."""
    gpus = _gpus(resources)
    found = []
    if project.max_gpus is not None and gpus > project.max_gpus:
        found.append(
            f"Project {project} may use {_cards(project.max_gpus)} at the same time, and this asks "
            f"for {gpus}. Set gpus to {project.max_gpus}, or ask for a larger quota."
        )
    if hours is not None and hours <= 0:
        found.append(
            f"Project {project} has used its {project.max_gpu_hours} GPU-hours. Set gpus to 0, "
            "for the CPU, or ask for a larger quota."
        )
    return found


def too_few_hours(
    project: Project, resources: dict[str, Any], hours: float | None, expected_s: float
) -> list[str]:
    """That a job of so many seconds needs more than is left. Cards that it holds are not taken from
    it, as half a run is worth nothing; but cards are not given to it a second time."""
    needed = _gpus(resources) * expected_s / SECONDS_PER_HOUR
    if hours is None or not 0 < hours < needed:
        return []
    return [
        f"This takes about {_hours(needed)} GPU-hours, and of its {project.max_gpu_hours} project "
        f"{project} has {_hours(hours)} left. A job that runs is not stopped when they are used "
        "up, but after a pause or a failure it could not go on. Train for less, or ask for a "
        "larger quota."
    ]


class Ledger:
    """What the projects of those who wait use, kept up to date while a plan is made."""

    def __init__(self, waiting: Iterable[Project | None]) -> None:
        projects = {project for project in waiting if project is not None}
        limited = [p.pk for p in projects if (p.max_gpus, p.max_gpu_hours) != (None, None)]
        self.used = used_by(limited) if limited else defaultdict(Use)

    def reason(self, project: Project | None, resources: dict[str, Any]) -> str:
        """Why the project may not have these cards now; empty when it may."""
        gpus = _gpus(resources)
        if not gpus or project is None:
            return ""
        if _are_used_up(project, self.used):
            return f"Waits: project {project} has used its {project.max_gpu_hours} GPU-hours."
        held = self.used[project.pk].gpus
        if project.max_gpus is None or held + gpus <= project.max_gpus:
            return ""
        needs = "" if held >= project.max_gpus else f", and this job needs {gpus}"
        return f"Waits: project {project} uses {held} of its {_cards(project.max_gpus)}{needs}."

    def take(self, project: Project | None, resources: dict[str, Any]) -> None:
        if project is not None:
            self.used[project.pk].gpus += _gpus(resources)


def _are_used_up(project: Project, used: dict[UUID, Use]) -> bool:
    limit = project.max_gpu_hours
    return limit is not None and used[project.pk].gpu_hours >= limit


def _gpus(resources: dict[str, Any]) -> int:
    return int(resources.get("gpus") or 0)


def _hours(count: float) -> str:
    return f"{count:.1f}" if count >= 1 else f"{count:.3f}"


def _cards(count: int) -> str:
    return f"{count} GPU{'' if count == 1 else 's'}"
