"""``python -m benchmarks.latency.fill_jobs COUNT``: experiments and jobs, after `fill`.

So many of each, as the pages of training have them; one job with so many logged steps and a log of
a megabyte; a project's recipes. Prints as JSON what the pages need to know.
"""

from __future__ import annotations

import json
import os
import random
import sys
from datetime import timedelta
from pathlib import Path

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "trainyard.settings")
django.setup()

from django.db import connection
from django.utils import timezone

from accounts.models import Project
from benchmarks.latency.fill import fill
from benchmarks.latency.multiply import multiply
from registry.models import BaseModel, Dataset
from training.models import Checkpoint, Experiment, Job, JobEvent, Metric, Recipe, Status
from training.run_plan import run_dir

TRAIN = {"max_steps": 1000, "global_batch_size": 8, "learning_rate": 2e-4, "logging_steps": 1}
OPEN = (Status.QUEUED, Status.RUNNING, Status.PAUSED)
ENDED = (Status.COMPLETED, Status.COMPLETED, Status.COMPLETED, Status.FAILED, Status.CANCELLED)
FAILURE = {"kind": "out_of_memory", "message": "The GPU ran out of memory.", "advice": "Less."}
REPORT = {"ok": True, "warnings": ["A warning of the usual length, for every job."] * 5}
COMPARED = 20
# How the n-th copy of a job's first step differs from it, in SQL.
LATER_STEPS = {
    "cursor": "n + 1",
    "step": "n + 1",
    "loss": "3.0 / (1 + n / 1000.0)",
    "tokens": "1000 * (n + 1)",
    "tokens_per_s": "2400.0 + n %% 7",
}


def main(count: int) -> None:
    random.seed(count)
    models = list(BaseModel.objects.order_by("pk")[:500])
    datasets = list(Dataset.objects.order_by("pk")[:500])
    recipes = list(Recipe.objects.all())
    projects = list(Project.objects.all())
    default = Project.objects.default()

    def experiment(number: int) -> Experiment:
        return Experiment(
            project=random.choice(projects),
            name=f"experiment {number}",
            base_model=random.choice(models),
            dataset=random.choice(datasets),
            recipe=random.choice(recipes),
            train=TRAIN,
            lora={"r": 16, "lora_alpha": 32},
            resources={"gpus": 1},
            preflight=REPORT,
        )

    experiments = fill(Experiment, count, experiment)
    now = timezone.now()

    def job(number: int) -> Job:
        status = random.choice(OPEN if number >= count - 30 else ENDED)
        is_over = status in ENDED
        return Job(
            project=default if number % 3 else random.choice(projects),
            experiment_id=experiments[number],
            name=f"{random.choice(('tuning', 'trial', 'nightly'))} {number}",
            status=status,
            step=1000 if status == Status.COMPLETED else 400,
            max_steps=1000,
            last_metrics={"step": 400, "loss": 1.25, "learning_rate": 2e-4, "tokens_per_s": 2400},
            evaluation={"before": {"eval_loss": 3.1}, "after": {"eval_loss": 1.4}},
            failure=FAILURE if status == Status.FAILED else None,
            started_at=now - timedelta(hours=1),
            finished_at=now if is_over else None,
        )

    jobs = fill(Job, count, job)
    steps = count
    long = Job.objects.select_related("experiment").get(pk=jobs[count // 2])
    multiply([_metric(long)], steps, **LATER_STEPS)
    _events(long, steps)
    Job.objects.filter(pk=long.pk).update(step=steps, max_steps=steps, cursor=steps + 100)
    compared = jobs[:COMPARED]
    multiply([_metric(Job(pk=pk)) for pk in compared], 1000 * len(compared), **LATER_STEPS)
    folder = run_dir(long)
    folder.mkdir(parents=True, exist_ok=True)
    Path(folder / "log.txt").write_text("step after step, nothing to see here\n" * 30_000)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE" if connection.vendor == "postgresql" else "ANALYZE")
    facts = {
        "job": str(long.pk),
        "experiment": str(long.experiment_id),
        "used_model": str(long.experiment.base_model_id),
        "compared": [str(pk) for pk in compared],
        "recipe": str(recipes[0].pk),
    }
    print(json.dumps(facts))


def _metric(job: Job) -> Metric:
    """Of the first step."""
    return Metric(
        job=job,
        cursor=1,
        step=1,
        loss=3.0,
        learning_rate=2e-4,
        grad_norm=1.0,
        tokens=1000,
        tokens_per_s=2400.0,
        samples_per_s=30.0,
        memory_mb=812.0,
        logged_at=timezone.now(),
    )


def _events(job: Job, steps: int) -> None:
    every = max(steps // 100, 1)
    marks = list(range(every, steps + 1, every))[:100]
    now = timezone.now()
    JobEvent.objects.bulk_create(
        JobEvent(
            job=job,
            cursor=steps + number,
            event="evaluation",
            step=step,
            message=f"After step {step}: loss 1.5.",
            facts={"step": step, "eval_loss": 1.5},
            created_at=now,
        )
        for number, step in enumerate(marks, 1)
    )
    Checkpoint.objects.bulk_create(
        Checkpoint(job=job, step=step, path=f"step-{step}", size_bytes=48_000_000, created_at=now)
        for step in marks[-5:]
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
