"""What people and programs do with probes: ask for one, and cancel it."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

from django.db import transaction

from accounts.models import Project
from training import judging, preflight, services
from training.lifecycle import IllegalMove
from training.models import Experiment, Job, Probe, Status

# To run out of memory is what a probe is to find out, and it neither tells nor keeps anything.
TRAIN = {"auto_find_batch_size": False, "load_best_model_at_end": False, "report_to": []}


def create(*, plan: dict[str, Any], actor: Any, project_id: uuid.UUID | None) -> Probe:
    """Put a probe of these settings into the queue, as a job that no list shows.

    ``plan`` as `judging.complete` takes it. Raises PreflightFailed, and then nothing was written;
    not where a card seems too small, as that is what a probe can tell.
    """
    plan = judging.complete(plan)
    project = Project.objects.get(pk=project_id) if project_id else None
    report = judging.judge(plan, project)
    if not report.ok and not (report.only_too_large and plan["resources"]["gpus"]):
        raise services.PreflightFailed(_with_a_reason(report))
    with transaction.atomic():
        name = f"Probe of {plan['base_model']}"[:200]
        experiment = Experiment.objects.create(
            project_id=project_id,
            name=name,
            is_probe=True,
            preflight=report.as_dict(),
            recipe_version=plan["recipe"].version,
            **_settings(plan),
        )
        job = Job.objects.create(
            project_id=project_id,
            experiment=experiment,
            name=name,
            is_probe=True,
            created_by=actor,
            celery_task_id=str(uuid.uuid4()),
        )
        probe = Probe.objects.create(
            project_id=project_id,
            created_by=actor,
            job=job,
            preflight=report.as_dict(),
            **{name: plan[name] for name in Probe.PLAN},
        )
        services.start(Job.objects.get(pk=job.pk), actor=actor)
    probe.refresh_from_db()
    return probe


def cancel(probe: Probe, *, actor: Any) -> Probe:
    """Stop it; one that is measuring stops at its next step. Raises AlreadyOver."""
    if probe.job is None or probe.outcome:
        raise AlreadyOver(probe)
    try:
        services.cancel(probe.job, actor=actor)
    except IllegalMove as error:  # it has ended in this very moment
        probe.refresh_from_db()
        raise AlreadyOver(probe) from error
    probe.refresh_from_db()
    return probe


class AlreadyOver(Exception):
    """The probe has ended, so it cannot be cancelled."""

    def __init__(self, probe: Probe) -> None:
        super().__init__(f"The probe is {probe.status} and cannot become {Status.CANCELLED}.")


def _settings(plan: dict[str, Any]) -> dict[str, Any]:
    """As they are, but for what a probe has no use for."""
    names = ("base_model", "dataset", "recipe", "columns", "adapters", "lora", "resources")
    train = {**plan["train"], **TRAIN}
    return {
        **{name: plan[name] for name in names},
        "train": train,
        "eval": {},
        "export": ["safetensors"],
    }


def _with_a_reason(report: preflight.Report) -> preflight.Report:
    """On the CPU a probe that does not fit would take the machine with it."""
    if not report.only_too_large:
        return report
    sentence = "A probe on the CPU would take the memory of the whole machine, so it is not made."
    return replace(report, errors=(*report.errors, sentence))
