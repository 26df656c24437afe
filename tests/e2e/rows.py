"""What a worker and its trainer write, as calls of a process of their own: the browser's loop runs
in the process of the tests, where Django refuses to work. Takes and gives plain values."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.test import Client
from django.utils import timezone

from accounts.models import Membership, Project, User
from activity.live import push_on_commit
from activity.record import record
from registry.models import BaseModel, Transfer
from tests import factories as make
from training import lifecycle, run_plan
from training.models import Draft, Generation, Job, Probe, Serving, Status
from training.playground import generations


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


def finish(
    job_id: str, event_type: str = "job_completed", title: str = "Training completed"
) -> None:
    """Its end, with the feed line that `outcome` writes."""
    with transaction.atomic():
        job = Job.objects.get(pk=job_id)
        if event_type == "job_failed":
            lifecycle.move(job, Status.FAILED, failure=make.OUT_OF_MEMORY)
        else:
            lifecycle.move(job, Status.COMPLETED, message="All steps done.")
        record(
            event_type,
            entity_type="job",
            entity_id=job.pk,
            title=f"{title}: {job.name}",
            message="It took 3 s",
            project_id=job.project_id,
        )


def brought_in(name: str) -> dict[str, str]:
    """A transfer that has ended with a dataset, and the feed lines of both; their ids."""
    with transaction.atomic():
        dataset = make.make_dataset(name=name)
        result = {"kind": "dataset", "id": str(dataset.pk), "name": name}
        transfer = make.make_transfer(status="COMPLETED", hf_repo_id=f"ana/{name}", result=result)
        for event_type, thing, title in (
            ("dataset_imported", dataset, "Dataset imported"),
            ("transfer_completed", transfer, "Transfer completed"),
        ):
            record(
                event_type,
                entity_type=event_type.partition("_")[0],
                entity_id=thing.pk,
                title=f"{title}: {name}",
                message="1,000 rows",
                project_id=thing.project_id,
            )
    return {"dataset": str(dataset.pk), "transfer": str(transfer.pk)}


def note(title: str) -> None:
    """Something happens in the default project."""
    with transaction.atomic():
        record(
            "job_created",
            entity_type="job",
            entity_id=uuid.uuid4(),
            title=title,
            project_id=Project.objects.default().pk,
        )


def sign_in_stranger() -> dict[str, str]:
    """Somebody of another project; the cookie of their session."""
    stranger = User.objects.create_user("stranger")
    elsewhere = Project.objects.create(name="Elsewhere")
    Membership.objects.create(user=stranger, project=elsewhere, role="owner")
    client = Client()
    client.force_login(stranger)
    name = settings.SESSION_COOKIE_NAME
    return {"name": name, "value": client.cookies[name].value}


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


def end_probe(draft_id: str) -> None:
    """As a worker does it that has measured."""
    probe = Draft.objects.get(pk=draft_id).probe
    assert probe is not None
    result = {
        "out_of_memory": False,
        "peak_memory_mb": 1536.0,
        "step_time_ms": 250.0,
        "longest_step_time_ms": 400.0,
        "tokens_per_second": 900.0,
        "report": probe.preflight,
    }
    Probe.objects.filter(pk=probe.pk).update(
        outcome=Probe.Outcome.MEASURED, result=result, finished_at=timezone.now(), job=None
    )


def new_talker(name: str) -> str:
    """A model that can be asked; its id."""
    found = {"inspection": {"has_chat_template": True}}
    return str(make.make_model(name=name, storage_path="/somewhere", metadata=found).pk)


def new_tuned_talker(name: str) -> str:
    """An adapter of a model that can be asked; its id."""
    base = BaseModel.objects.get(pk=new_talker(f"{name}'s base"))
    return str(make.make_adapter(base, name=name, storage_path="/somewhere").pk)


def answer_as_far_as(generation_id: str, text: str, *, whole: bool = False) -> None:
    """What a worker writes of an answer until now."""
    answer_all_as_far_as(generation_id, {"base": text}, whole=whole)


def answer_all_as_far_as(generation_id: str, texts: dict[str, str], *, whole: bool = False) -> None:
    generation = Generation.objects.get(pk=generation_id)
    serving = generation.serving or Serving.objects.create()
    if generation.status == Status.QUEUED:
        generations.take_up(serving, generation)
    answers: dict[str, dict[str, Any]] = {
        side: {"state": "writing", "text": text, "tokens": len(text.split())}
        for side, text in texts.items()
    }
    if not whole:
        generations.write(serving, generation, answers)
        return
    done = {"state": "done", "finish_reason": "stop", "seconds": 0.5}
    answers = {side: {**answer, **done} for side, answer in answers.items()}
    generations.end(serving, generation, answers, Status.COMPLETED)


def messages_of(generation_id: str) -> list[str]:
    messages = Generation.objects.get(pk=generation_id).messages
    return [message["content"] for message in messages]


def new_transfer(repo_id: str, **fields: Any) -> str:
    """One that is moving, as its worker writes it; its id."""
    moving = {"status": "RUNNING", "phase": "moving", "size_bytes": 1000, "files_total": 1}
    return str(make.make_transfer(hf_repo_id=repo_id, **{**moving, **fields}).pk)


def move_transfer(transfer_id: str, bytes_transferred: int) -> None:
    """A heartbeat: a row changes, and nobody is told."""
    rows = Transfer.objects.filter(pk=transfer_id)
    rows.update(bytes_transferred=bytes_transferred, rate_bytes_s=100.0)
