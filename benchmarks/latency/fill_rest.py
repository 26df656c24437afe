"""``python -m benchmarks.latency.fill_rest COUNT``: what the other pages list, after `fill_jobs`.

So many adapters, recipes, transfers, prompts, uploads, checkpoints and artifacts; the deliveries of
one webhook, the files of one transfer. Prints as JSON what the pages need to know.
"""

from __future__ import annotations

import json
import os
import random
import sys
from datetime import timedelta
from uuid import UUID

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "trainyard.settings")
django.setup()

from django.conf import settings
from django.db import connection
from django.utils import timezone

from accounts.local import local_owner
from accounts.models import Project, User
from activity import webhooks
from activity.models import Webhook, WebhookDelivery
from benchmarks.latency.multiply import multiply
from benchmarks.latency.words import PURPOSES
from registry.models import Adapter, BaseModel, Dataset, Transfer, TransferFile, Upload
from training.models import Artifact, Checkpoint, Generation, Job, Recipe
from training.wizard import drafts
from training.wizard.steps import NAMES

VARIED = 500
CARD = "# An adapter\n\n" + "Trained on public text, evaluated on held-out rows. " * 30
ANSWER = {"state": "done", "text": "The fourth of July. " * 20, "tokens": 90, "seconds": 1.2}
BODY = json.dumps({"event": "job_completed", "title": "Training completed", "metadata": {}})


def main(count: int) -> None:
    random.seed(count)
    varied = min(VARIED, count)
    now, owner = timezone.now(), local_owner()
    projects = list(Project.objects.all())
    models = list(BaseModel.objects.order_by("pk")[:varied])
    jobs = list(Job.objects.order_by("pk")[:varied])

    def adapter(number: int) -> Adapter:
        purpose = random.choice(PURPOSES)
        return Adapter(
            project=random.choice(projects),
            name=f"{purpose}-adapter-{number}",
            description=f"Made for {purpose}.",
            base_model=models[number % len(models)],
            method="lora",
            r=16,
            lora_alpha=32,
            storage_path=f"{settings.TRAINYARD_HOME}/exports/{number}",
            size_bytes=48_000_000 + number,
            model_card=CARD,
        )

    def recipe(number: int) -> Recipe:
        return Recipe(
            project=random.choice(projects),
            name=f"recipe-{number}",
            display_name=f"Recipe {number}",
            description="Ours, with a lower learning rate and more of the layers.",
            method="lora",
            defaults={"train": {"learning_rate": 1e-4}, "lora": {"r": 32}},
        )

    def transfer(number: int) -> Transfer:
        status = ("COMPLETED", "COMPLETED", "FAILED", "CANCELLED")[number % 4]
        return Transfer(
            project=random.choice(projects),
            created_by=owner,
            kind=("hf_dataset", "hf_model")[number % 2],
            name=f"rows-{number}",
            hf_repo_id=f"team/rows-{number}",
            status=status,
            size_bytes=1_000_000,
            bytes_transferred=1_000_000,
            files_total=12,
            files_done=12,
            failure={"kind": "missing", "message": "Gone.", "advice": ""}
            if status == "FAILED"
            else None,
            result={"kind": "dataset", "id": str(jobs[0].pk), "name": "rows"}
            if status == "COMPLETED"
            else None,
            started_at=now,
            finished_at=now,
        )

    def generation(number: int) -> Generation:
        return Generation(
            project=random.choice(projects),
            created_by=owner,
            base_model=models[number % 5],
            prompt="When is the fourth of July?",
            sampling={"max_new_tokens": 100},
            time_limit_s=120,
            status="COMPLETED",
            answers={"base": ANSWER},
            started_at=now,
            finished_at=now,
        )

    def upload(number: int) -> Upload:
        return Upload(
            project=random.choice(projects),
            created_by=owner,
            file_name=f"train-{number}.jsonl",
            size_bytes=10_000_000,
            offset=4_000_000,
            expires_at=now + timedelta(days=2),
        )

    for table in (adapter, transfer, generation, upload):
        multiply([table(number) for number in range(varied)], count)
    multiply(
        [recipe(number) for number in range(varied)],
        count,
        display_name="t.display_name || '.' || n",
    )
    multiply([_checkpoint(job) for job in jobs], count, step="n", path="'step-' || n")
    multiply([_artifact(job) for job in jobs], count, path="t.path || n")
    webhook = _webhook(count)
    files = Transfer.objects.order_by("-created_at")[0]
    multiply(
        [TransferFile(transfer=files, path="shard", size_bytes=8_000_000)],
        count,
        path="t.path || '-' || n",
    )
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE" if connection.vendor == "postgresql" else "ANALYZE")
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    facts = {
        "draft": str(_draft(models[0], owner)),
        "steps": NAMES,
        "adapter": str(Adapter.objects.values_list("pk", flat=True)[0]),
        "own_recipe": str(Recipe.objects.filter(project__isnull=False)[0].pk),
        "transfer": str(files.pk),
        "webhook": str(webhook.pk),
        "prompted": str(models[0].pk),
        "generation": str(Generation.objects.values_list("pk", flat=True)[0]),
        "other_dataset": str(Dataset.objects.values_list("pk", flat=True)[1]),
    }
    print(json.dumps(facts))


def _webhook(count: int) -> Webhook:
    webhook = webhooks.create(
        user=None,
        project=Project.objects.default(),
        name="to Slack",
        url="https://hooks.example.org/x",
        event_types=["job_completed", "job_failed"],
    )
    state = WebhookDelivery.State
    deliveries = [
        WebhookDelivery(
            webhook=webhook,
            event_type="job_completed",
            request_body=BODY,
            state=state.DELIVERED if number % 4 else state.FAILED,
            response_status=200 if number % 4 else 500,
            duration_ms=12,
            due_at=timezone.now(),
        )
        for number in range(min(VARIED, count))
    ]
    multiply(deliveries, count)
    return webhook


def _draft(model: BaseModel, owner: User) -> UUID:
    """With every step done."""
    answers = {
        "base_model_id": str(model.pk),
        "dataset_id": str(Dataset.objects.filter(modality=model.modality)[0].pk),
        "recipe_id": str(Recipe.objects.get(name="lora", project=None).pk),
    }
    project = drafts.projects_of(owner)[0]
    draft = drafts.begin(owner, answers=answers, metadata={"origin": "wizard"}, project=project)
    for name in NAMES:
        drafts.go_through(draft, name)
    return draft.pk


def _checkpoint(job: Job) -> Checkpoint:
    return Checkpoint(
        job=job, step=100_000, path="step-0", size_bytes=48_000_000, created_at=timezone.now()
    )


def _artifact(job: Job) -> Artifact:
    return Artifact(
        job=job, kind="onnx", path=f"/exports/{job.pk}/a", size_bytes=48_000_000, sha256="0" * 64
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
