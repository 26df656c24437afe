"""From a job's rows to its trainer's ``run.json``."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from django.conf import settings

from registry import code_reviews, doctor
from training import checking, probes
from training.models import Job
from training.trainer import spec


def export_dir(job: Job) -> Path:
    """What the job has made, a folder for each kind of export."""
    return Path(settings.TRAINYARD_EXPORTS) / str(job.pk)


def run_dir(job: Job) -> Path:
    return Path(settings.TRAINYARD_RUNS) / str(job.pk)


def write(job: Job) -> Path:
    """The run folder with its run.json. A later attempt finds it there and keeps it: the run goes
    on with the very settings, thread count included, with which it began."""
    folder = run_dir(job)
    folder.mkdir(parents=True, exist_ok=True)
    plan = folder / "run.json"
    if not plan.exists():
        half = folder / "run.json.tmp"
        half.write_text(json.dumps(plan_of(job).as_dict(), indent=2), encoding="utf-8")
        os.replace(half, plan)
    return folder


def plan_of(job: Job) -> spec.RunSpec:
    """Raises BadSpec where the experiment holds what a trainer cannot do. The model's own code
    has been found to be approved (`file_checks`)."""
    experiment = job.experiment
    dataset = experiment.dataset
    place = Path(dataset.storage_path)
    files = doctor.split_files(place) or doctor.image_folders(place)
    resources = experiment.resources
    return spec.RunSpec.from_dict(
        {
            "run_id": str(job.pk),
            "name": job.name,
            "method": experiment.recipe.method,
            "base_model": {
                "path": experiment.base_model.storage_path,
                "name": experiment.base_model.name,
                "id": str(experiment.base_model_id),
                "code": code_reviews.code_of(experiment.base_model) or {},
            },
            "dataset": {
                "train": [str(path) for path in files.get("train", [])],
                "validation": [str(path) for path in held_out(files)],
                "columns": experiment.columns,
                "name": dataset.name,
                "id": str(dataset.pk),
                "checksum": dataset.checksum,
            },
            "train": experiment.train,
            "lora": experiment.lora,
            "eval": {**experiment.eval, "include_path": checking.eval_tasks()},
            "device": {
                "gpus": resources.get("gpus", 0),
                "strategy": resources.get("strategy") or "ddp",
                "mixed_precision": resources.get("mixed_precision") or "no",
                "num_threads": job.worker.cpu_threads if job.worker else 1,
            },
            "export": experiment.export or ["safetensors"],
            "export_dir": str(export_dir(job)),
            "cache_dir": str(settings.TRAINYARD_TOKEN_CACHE),
            "cache_limit_gb": settings.TRAINYARD_TOKEN_CACHE_GB,
            **(_of_a_probe(job) if job.is_probe else {}),
        }
    )


def _of_a_probe(job: Job) -> dict[str, Any]:
    """It measures only, and whatever it writes is in the folder that goes with it."""
    folder = run_dir(job)
    return {
        "probe_steps": probes.STEPS,
        "export_dir": str(folder / "exports"),
        "cache_dir": str(folder / "tokens"),
    }


def held_out(files: dict[str, list[Path]]) -> list[Path]:
    """What is measured on and never trained on: the test split where there is no validation."""
    return next((files[split] for split in spec.HELD_OUT_SPLITS if files.get(split)), [])
