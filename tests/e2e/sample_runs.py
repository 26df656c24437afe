"""Jobs in every state for `tests.e2e.samples`, and what makes their pages full: numbers, events,
checkpoints that lie on the disk, evaluations, a model with a tokenizer and rows to show through it.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone

from activity.record import record
from registry.models import BaseModel, Dataset
from tests import factories as make
from tests.registry.files import write_rows
from tests.training.trainer.tiny import make_tokenizer
from training import checkpoints, run_plan
from training.models import Job, Recipe, Status

SHOWN = (Status.RUNNING, Status.QUEUED, Status.PAUSED, Status.COMPLETED, Status.FAILED)
STEPS = {Status.QUEUED: 0, Status.COMPLETED: 100}
BEFORE = {"eval_loss": 3.1, "perplexity": 22.2, "accuracy": 0.41, "accuracy_stderr": 0.02}
AFTER = {"eval_loss": 1.5, "perplexity": 4.5, "accuracy": 0.39, "accuracy_stderr": 0.02}
LOG = [f"step {step:>3}  loss {3 / (1 + step / 9):.3f}  lr 2.0e-04" for step in range(1, 101)]


def jobs_of(model: BaseModel, dataset: Dataset, made: Any) -> list[Job]:
    """``made`` is the adapter that the completed one has left."""
    experiment = make.make_experiment(
        name="Llama-2-7B on alpaca", base_model=model, dataset=dataset
    )
    whole = make.make_experiment(
        name="All weights of Llama-2-7B on alpaca",
        base_model=model,
        dataset=dataset,
        recipe=Recipe.objects.get(name="full", project=None),
        resources={"gpus": 1},
    )
    result = {"kind": "adapter", "id": str(made.pk), "name": made.name}
    jobs = []
    for number, status in enumerate(SHOWN):
        job = make.make_job(
            status=status,
            experiment=whole if status == Status.FAILED else experiment,
            name=f"Llama-2-7B Fine-tune on Alpaca {number + 1}",
            result=result if status == Status.COMPLETED else None,
            started_at=None if status == Status.QUEUED else timezone.now() - timedelta(minutes=7),
            evaluation={"before": BEFORE, "after": AFTER} if STEPS.get(status, 60) else {},
        )
        if steps := STEPS.get(status, 60):
            _trained(job, steps, worse_by=number / 8)
        _tell(job)
        jobs.append(job)
    return jobs


def _trained(job: Job, steps: int, worse_by: float) -> None:
    losses = [3.0 / (1 + step / 9) + step % 3 / 20 + worse_by for step in range(steps)]
    make.make_metrics(job, losses)
    make.make_event(job, "evaluation", step=0, message="Loss 3.1.", **BEFORE)
    for step in (20, 40):
        checkpoint = make.make_checkpoint(job, step)
        make.make_event(job, "checkpoint", step=step, message=f"Step {step}, 48.0 MiB.")
        checkpoints.folder_of(checkpoint).mkdir(parents=True)
    make.make_event(job, "evaluation", step=40, message="Loss 1.5.", **AFTER)
    make.make_artifact(job, f"/exports/{job.pk}/model.safetensors")
    (run_plan.run_dir(job) / "log.txt").write_text("\n".join(LOG[:steps]) + "\n")


def _tell(job: Job) -> None:
    ended: dict[str, str] = {Status.COMPLETED: "completed", Status.FAILED: "failed"}
    verb = ended.get(job.status, "started")
    record(
        f"job_{verb}",
        entity_type="job",
        entity_id=job.pk,
        title=f"Training {verb}: {job.name}",
        message=f"{job.step} of 100 steps were done.",
        status={"completed": "success", "failed": "error"}.get(verb, "info"),
        project_id=job.project_id,
        metadata={"job_id": str(job.pk)},
    )


def with_rows() -> tuple[BaseModel, Dataset]:
    """A model with a tokenizer and a chat template, and a dataset whose rows are on the disk."""
    folder = settings.TRAINYARD_MODELS / "dates"
    folder.mkdir(parents=True)
    make_tokenizer(bos_token="<eos>").save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    model = make.make_model(name="dates-base", storage_path=str(folder), context_length=128)
    data = settings.TRAINYARD_DATASETS / "dates"
    data.mkdir(parents=True)
    asked = [f"Which day is the {'very ' * (n % 9)}{n}th of July?" for n in range(1, 29)]
    rows = [
        {
            "messages": [
                {"role": "user", "content": question},
                {"role": "assistant", "content": f"It is 07-{n:02}. " + "Every year. " * (n % 5)},
            ]
        }
        for n, question in enumerate(asked, 1)
    ]
    write_rows(data / "train.jsonl", rows)
    dataset = make.make_dataset(
        name="dates",
        description="Dates in words and in figures.",
        storage_path=str(data),
        num_samples=len(rows),
        checksum="d" * 64,
        statistics={
            "splits": ["train"],
            "rows": {"train": len(rows)},
            "row_format": "messages",
            "columns": ["messages"],
            "lengths": {"train": [[40 + 9 * n, 1 + n % 5] for n in range(20)]},
            "mean_characters": 96.0,
            "max_characters": 211,
            "labels": {"july": 20, "august": 8},
            "languages": {"en": 1.0},
        },
    )
    make.make_dataset(name="dates", version="1.1", num_samples=20, statistics=dataset.statistics)
    return model, dataset
