"""Rows for tests: plain functions that make true what the database asks for.

Every argument has a default, so a test names only what it is about. What belongs to no project
is everybody's; these rows belong to the default project, which Ana and Bob are members of.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from django.utils import timezone

from accounts.models import Project, User
from activity import webhooks
from activity.models import Activity, Cursor, Webhook
from registry.hub.models import FINAL as TRANSFER_FINAL
from registry.hub.models import Status as TransferStatus
from registry.models import Adapter, BaseModel, CodeReview, Dataset, Transfer, Upload
from training.models import (
    ACTIVE,
    FINAL,
    Artifact,
    Checkpoint,
    Device,
    Experiment,
    Generation,
    Job,
    JobEvent,
    Lease,
    Metric,
    Partition,
    Probe,
    Recipe,
    Status,
    Worker,
)

_numbers = count(1)
OUT_OF_MEMORY = {
    "kind": "out_of_memory",
    "message": "The card ran out of memory at step 12.",
    "advice": "Halve the micro batch, or switch gradient checkpointing on.",
}


def make_model(*, project: Project | None = None, **fields: Any) -> BaseModel:
    return BaseModel.objects.create(
        **{
            "project": project or Project.objects.default(),
            "name": f"tiny-llama-{next(_numbers)}",
            "family": "llama",
            "params_b": 0.004,
            "dtype": "float32",
            "context_length": 512,
            "architecture": "LlamaForCausalLM",
            "size_bytes": 16_000_000,
            **fields,
        }
    )


def make_dataset(*, project: Project | None = None, **fields: Any) -> Dataset:
    statistics = fields.pop("statistics", {})
    dataset = Dataset(
        **{
            "project": project or Project.objects.default(),
            "name": f"dates-{next(_numbers)}",
            "num_samples": 1000,
            "size_bytes": 250_000,
            "integrity_checked": True,
            "integrity_passed": True,
            **fields,
        }
    )
    dataset.learn(statistics)
    dataset.save()
    return dataset


def make_adapter(base_model: BaseModel | None = None, **fields: Any) -> Adapter:
    base_model = base_model or make_model()
    return Adapter.objects.create(
        **{
            "project": base_model.project,
            "name": f"adapter-{next(_numbers)}",
            "base_model": base_model,
            "method": "lora",
            "r": 16,
            "lora_alpha": 32,
            **fields,
        }
    )


def make_code_review(**fields: Any) -> CodeReview:
    return CodeReview.objects.create(
        **{
            "sha256": f"{next(_numbers):064x}",
            "files": {"modeling_own.py": "0" * 64},
            "found_in": "/models/own",
            **fields,
        }
    )


def make_recipe(*, project: Project | None = None, **fields: Any) -> Recipe:
    number = next(_numbers)
    return Recipe.objects.create(
        **{
            "project": project or Project.objects.default(),
            "name": f"recipe-{number}",
            "display_name": f"Recipe {number}",
            "method": "lora",
            **fields,
        }
    )


def make_upload(*, project: Project | None = None, **fields: Any) -> Upload:
    """One of which nothing has come yet; its file is not made."""
    return Upload.objects.create(
        **{
            "project": project or Project.objects.default(),
            "file_name": "train.jsonl",
            "size_bytes": 1000,
            "expires_at": timezone.now() + timedelta(days=1),
            **fields,
        }
    )


def make_generation(*, project: Project | None = None, **fields: Any) -> Generation:
    """A prompt to a base model that waits."""
    project = project or Project.objects.default()
    base_model = fields.pop("base_model", None) or make_model(project=project)
    return Generation.objects.create(
        **{
            "project": project,
            "base_model": base_model,
            "prompt": "two plus two is",
            "sampling": {"max_new_tokens": 8, "seed": 1},
            "time_limit_s": 60,
            **fields,
        }
    )


def make_experiment(*, project: Project | None = None, **fields: Any) -> Experiment:
    project = project or Project.objects.default()
    defaults: dict[str, Any] = {
        "project": project,
        "name": f"experiment-{next(_numbers)}",
        "train": {"max_steps": 100, "global_batch_size": 8, "learning_rate": 2e-4},
        "lora": {"r": 16, "lora_alpha": 32},
        "resources": {"gpus": 0},
        **fields,
    }
    defaults.setdefault("base_model", None)
    defaults["base_model"] = defaults["base_model"] or make_model(project=project)
    defaults["dataset"] = defaults.get("dataset") or make_dataset(project=project)
    defaults["recipe"] = defaults.get("recipe") or Recipe.objects.get(name="lora", project=None)
    return Experiment.objects.create(**defaults)


def make_job(
    *,
    status: str = Status.PENDING,
    experiment: Experiment | None = None,
    project: Project | None = None,
    owner: User | None = None,
    **fields: Any,
) -> Job:
    """A job in any status, with the times and facts that a job in it has."""
    experiment = experiment or make_experiment(project=project)
    now = timezone.now()
    in_status: dict[str, Any] = {"max_steps": experiment.train.get("max_steps")}
    if status != Status.PENDING:
        in_status |= {"queued_at": now}
    if status in ACTIVE or status in FINAL or status == Status.PAUSED:
        in_status |= {"attempt": 1, "started_at": now}
    if status in ACTIVE:
        in_status |= {"heartbeat_at": now}
    if status in FINAL:
        in_status |= {"finished_at": now}
    if status == Status.FAILED:
        in_status |= {"failure": OUT_OF_MEMORY}
    if status == Status.COMPLETED:
        in_status |= {"step": in_status["max_steps"] or 0}
    return Job.objects.create(
        **{
            "project": experiment.project,
            "experiment": experiment,
            "created_by": owner,
            "name": f"job-{next(_numbers)}",
            "status": status,
            **in_status,
            **fields,
        }
    )


def make_probe(
    *,
    status: str = Status.QUEUED,
    project: Project | None = None,
    experiment: Experiment | None = None,
    **fields: Any,
) -> Probe:
    """A probe that is under way, with its job."""
    experiment = experiment or make_experiment(project=project, is_probe=True)
    job = make_job(status=status, experiment=experiment, is_probe=True, **fields)
    return Probe.objects.create(
        project=experiment.project,
        job=job,
        preflight=experiment.preflight,
        **{name: getattr(experiment, name) for name in Probe.PLAN},
    )


def make_metrics(job: Job, losses: Sequence[float], *, first_step: int = 1) -> list[Metric]:
    """One logged step per loss, as the runner writes them: the job's step, cursor and last
    metrics move with them."""
    rows = [
        Metric(
            job=job,
            cursor=job.cursor + n,
            step=first_step + n - 1,
            epoch=(first_step + n - 1) / 50,
            loss=loss,
            learning_rate=2e-4,
            grad_norm=1.0,
            tokens=1000 * (first_step + n - 1),
            tokens_per_s=2400.0,
            samples_per_s=30.0,
            memory_mb=812.0,
            logged_at=timezone.now(),
        )
        for n, loss in enumerate(losses, 1)
    ]
    Metric.objects.bulk_create(rows)
    last = rows[-1]
    job.cursor, job.step, job.step_seconds = last.cursor, last.step, 0.25
    job.last_metrics = {
        name: getattr(last, name)
        for name in ("step", "loss", "learning_rate", "grad_norm", "tokens_per_s", "memory_mb")
    }
    job.save(update_fields=["cursor", "step", "step_seconds", "last_metrics", "updated_at"])
    return rows


def make_event(
    job: Job, event: str, *, step: int | None = None, message: str = "", **facts: Any
) -> JobEvent:
    """The job's next event; its cursor moves with it."""
    job.cursor += 1
    job.save(update_fields=["cursor", "updated_at"])
    return JobEvent.objects.create(
        job=job,
        cursor=job.cursor,
        event=event,
        step=step,
        message=message,
        facts=facts,
        created_at=timezone.now(),
    )


def make_checkpoint(job: Job, step: int, **fields: Any) -> Checkpoint:
    return Checkpoint.objects.create(
        **{
            "job": job,
            "step": step,
            "path": f"checkpoints/step-{step}",
            "size_bytes": 48_000_000,
            "created_at": timezone.now(),
            **fields,
        }
    )


def make_artifact(job: Job, path: str = "model.safetensors", **fields: Any) -> Artifact:
    return Artifact.objects.create(
        **{
            "job": job,
            "kind": "model",
            "path": path,
            "size_bytes": 16_000_000,
            "sha256": "0" * 64,
            **fields,
        }
    )


def make_worker(
    name: str = "", *, seen_at: datetime | None = None, partition: str = "default", gpus: int = 0
) -> Worker:
    """A worker with one CPU slot, or with ``gpus`` cards of 80 GB."""
    now = timezone.now()
    worker = Worker.objects.create(
        name=name or f"host-{next(_numbers)}",
        partition=Partition.objects.get_or_create(name=partition)[0],
        boot_id=uuid.uuid4(),
        host_memory_mb=16_000,
        cpu_threads=4,
        seen_at=seen_at or now,
        started_at=now - timedelta(hours=1),
    )
    cards = [("cuda", index, "NVIDIA A100 80GB", "a100-80gb", 81_920) for index in range(gpus)]
    for kind, index, card, gpu_type, memory_mb in cards or [("cpu", 0, "CPU", "", 16_000)]:
        Device.objects.create(
            worker=worker,
            kind=kind,
            index=index,
            name=card,
            gpu_type=gpu_type,
            memory_mb=memory_mb,
        )
    return worker


def make_lease(job: Job, device: Device) -> Lease:
    return Lease.objects.create(device=device, job=job, attempt=job.attempt, sent_at=timezone.now())


def make_transfer(
    *, status: str = TransferStatus.QUEUED, project: Project | None = None, **fields: Any
) -> Transfer:
    """A transfer in any status, with the times and facts that one in it has."""
    now = timezone.now()
    in_status: dict[str, Any] = {"queued_at": now}
    if status in (TransferStatus.RUNNING, *TRANSFER_FINAL):
        in_status |= {"started_at": now, "size_bytes": 1000, "files_total": 2}
    if status == TransferStatus.RUNNING:
        in_status |= {"heartbeat_at": now}
    if status in TRANSFER_FINAL:
        in_status |= {"finished_at": now}
    if status == TransferStatus.FAILED:
        in_status |= {"failure": {"kind": "missing", "message": "Not there.", "advice": "Look."}}
    if status == TransferStatus.COMPLETED:
        in_status |= {"result": {"kind": "dataset", "id": str(uuid.uuid4()), "name": "rows"}}
    return Transfer.objects.create(
        **{
            "project": project or Project.objects.default(),
            "kind": "hf_dataset",
            "hf_repo_id": f"ana/rows-{next(_numbers)}",
            "name": "rows",
            "status": status,
            **in_status,
            **fields,
        }
    )


def make_webhook(*, project: Project | None = None, **fields: Any) -> Webhook:
    return webhooks.create(
        user=None,
        **{
            "project": project or Project.objects.default(),
            "name": f"webhook-{next(_numbers)}",
            "url": "https://hooks.example.org/x",
            "event_types": ["job_completed", "job_failed"],
            **fields,
        },
    )


def make_activity(*, project: Project | None = None, **fields: Any) -> Activity:
    """A line of the feed. Outside a test of `record` itself there is no need to ring for it."""
    cursor = Cursor.objects.get()
    cursor.value += 1
    cursor.save()
    return Activity.objects.create(
        **{
            "cursor": cursor.value,
            "event_type": "job_created",
            "entity_type": "job",
            "entity_id": uuid.uuid4(),
            "title": "Job created: a job",
            "project": project or Project.objects.default(),
            **fields,
        }
    )
