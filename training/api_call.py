"""A job in the words of the API: its settings, and the call that makes the very same one."""

from __future__ import annotations

import json
import shlex
from typing import Any

from django.http import HttpRequest

from training.models import Experiment, Job

SECTIONS = {
    "Columns": "columns",
    "Training": "train",
    "LoRA": "lora",
    "Resources": "resources",
    "Evaluation": "eval",
}


def configuration(experiment: Experiment) -> list[tuple[str, dict[str, Any]]]:
    """Every setting, by the heading of its section."""
    found = [(title, getattr(experiment, name)) for title, name in SECTIONS.items()]
    if experiment.export:
        found.append(("Export", {"export": experiment.export}))
    # PostgreSQL does not keep the order in which they were written.
    return [(title, dict(sorted(values.items()))) for title, values in found if values]


def body_of(job: Job) -> dict[str, Any]:
    """What ``POST /api/jobs`` makes the same job from."""
    experiment = job.experiment
    body: dict[str, Any] = {
        "name": job.name,
        "project_id": str(job.project_id) if job.project_id else None,
        "base_model_id": str(experiment.base_model_id),
        "dataset_id": str(experiment.dataset_id),
        "recipe_id": str(experiment.recipe_id),
    }
    sections = [*SECTIONS.values(), "export", "resume_from_checkpoint"]
    body |= {name: value for name in sections if (value := getattr(experiment, name))}
    return {**body, "metadata": job.metadata} if job.metadata else body


def curl_of(request: HttpRequest, job: Job) -> str:
    return curl(request, body_of(job))


def curl(request: HttpRequest, body: dict[str, Any]) -> str:
    """Runs as it stands, where a token is needed with one in TRAINYARD_TOKEN."""
    is_local = getattr(request, "local_owner", None) is not None
    lines = [
        f"curl {shlex.quote(f'{request.scheme}://{request.get_host()}/api/jobs')}",
        "-H 'Content-Type: application/json'",
        *([] if is_local else ['-H "Authorization: Bearer $TRAINYARD_TOKEN"']),
        f"-d {shlex.quote(json.dumps(body, indent=2, ensure_ascii=False))}",
    ]
    return " \\\n  ".join(lines)
