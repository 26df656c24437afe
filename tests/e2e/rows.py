"""What a worker and its trainer write, as calls of a process of their own: the browser's loop runs
in the process of the tests, where Django refuses to work. Takes and gives plain values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction

from activity.live import push_on_commit
from activity.record import record
from registry.models import BaseModel
from tests import factories as make
from training import lifecycle, run_plan
from training.models import Draft, Job, Status


def new_job(name: str, status: str, losses: Sequence[float] = (), **fields: Any) -> str:
    """A job of a hundred steps, with a feed line as `services` writes it; its id."""
    with transaction.atomic():
        job = make.make_job(name=name, status=status, **fields)
        if losses:
            make.make_metrics(job, losses)
        record("job_created", entity_type="job", entity_id=job.pk, title=f"Job created: {name}")
    return str(job.pk)


def log_steps(job_id: str, losses: Sequence[float]) -> None:
    """The next steps, committed and told of as one batch."""
    with transaction.atomic():
        job = Job.objects.select_for_update().get(pk=job_id)
        make.make_metrics(job, losses, first_step=job.step + 1)
        push_on_commit(lifecycle.group_of(job.pk), "job.changed")


def tell(job_id: str, event: str, message: str, **facts: Any) -> None:
    with transaction.atomic():
        lifecycle.tell(Job.objects.get(pk=job_id), event, message=message, facts=facts)


def write_log(job_id: str, text: str) -> None:
    folder = run_plan.run_dir(Job.objects.get(pk=job_id))
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "log.txt", "a", encoding="utf-8") as file:
        file.write(text)


def complete(job_id: str) -> None:
    job = Job.objects.get(pk=job_id)
    lifecycle.move(job, Status.COMPLETED, message="All steps done.")


def status_of(job_id: str) -> str:
    return str(Job.objects.values_list("status", flat=True).get(pk=job_id))


def new_model(name: str, **fields: Any) -> str:
    return str(make.make_model(name=name, **fields).pk)


def stage_of(model_id: str) -> str:
    return str(BaseModel.objects.values_list("stage", flat=True).get(pk=model_id))


def new_dataset(name: str, storage_path: str) -> str:
    dataset = make.make_dataset(
        name=name, storage_path=storage_path, integrity_checked=False, integrity_passed=False
    )
    return str(dataset.pk)


def one_of_everything() -> list[str]:
    """Rows for every page, and the addresses of the pages."""
    model = make.make_model(name="a-model-with-a-rather-long-name-" * 3, model_card="# Card")
    report = {
        "errors": 1,
        "findings": [{"file": "train.jsonl", "line": 7, "field": "text", "message": "Empty."}],
    }
    dataset = make.make_dataset(integrity_passed=False, integrity_report=report)
    experiment = make.make_experiment(base_model=model, dataset=dataset)
    jobs = [make.make_job(status=status, experiment=experiment) for status in Status.values]
    for job in jobs:
        make.make_metrics(job, [3.0, 2.0, 1.0])
        make.make_event(job, "evaluation", step=3, eval_loss=1.5)
        make.make_checkpoint(job, 3)
        make.make_artifact(job, f"/exports/{job.pk}/model.safetensors")
        make.make_activity(entity_id=job.pk, title=f"Something happened to {job.name}")
    make.make_worker("a-machine", gpus=2)
    adapter = make.make_adapter(model)
    return [
        *("/", "/jobs", "/jobs?status=FAILED", "/activity", "/models", "/datasets"),
        *(f"/jobs/{job.pk}" for job in jobs),
        *(f"/models/{model.pk}", f"/adapters/{adapter.pk}", f"/datasets/{dataset.pk}"),
    ]


def yard() -> dict[str, str]:
    """A model, two datasets, of which one does not go with it, and a machine with a card; ids."""
    folder = Path(settings.TRAINYARD_MODELS) / "tiny"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}), encoding="utf-8")
    model = make.make_model(
        name="Yard-Llama",
        storage_path=str(folder),
        hidden_size=64,
        num_layers=2,
        vocab_size=400,
        description="Small enough to try things on.",
        stage="production",
    )
    large = make.make_model(
        name="Yard-Llama-70B",
        storage_path=str(folder),
        params_b=70.0,
        dtype="bfloat16",
        hidden_size=8192,
        num_layers=80,
        vocab_size=128_256,
        context_length=8192,
        size_bytes=140_000_000_000,
    )
    rows = {
        "splits": ["train", "validation"],
        "rows": {"train": 20_000, "validation": 500},
        "row_format": "prompt_completion",
        "columns": ["completion", "prompt"],
        "mean_characters": 50.0,
        "max_characters": 90,
    }
    dataset = make.make_dataset(
        name="Yard-dates", description="Dates in words and in figures.", statistics=rows
    )
    make.make_dataset(name="Yard-pictures", modality="image")
    make.make_worker("yard-cpu", gpus=0)
    make.make_worker("yard-gpu", gpus=1, partition="cards")
    return {"model": str(model.pk), "large": str(large.pk), "dataset": str(dataset.pk)}


def job_of_draft(draft_id: str) -> dict[str, Any]:
    """What has become of a draft."""
    job = Draft.objects.get(pk=draft_id).job
    assert job is not None
    experiment = job.experiment
    return {
        "id": str(job.pk),
        "name": job.name,
        "train": experiment.train,
        "resources": experiment.resources,
        "jobs": Job.objects.filter(name=job.name).count(),
    }


def answers_of(draft_id: str) -> dict[str, str]:
    return dict(Draft.objects.get(pk=draft_id).answers)
