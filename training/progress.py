"""Takes over what a trainer has said (`training.trainer.events`) into the database.

A batch of lines is one transaction that also moves ``Job.trainer_seq``, so each line is taken over
exactly once, whoever dies in between.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from activity.live import push_on_commit
from training.lifecycle import group_of
from training.models import ACTIVE, Checkpoint, Job, JobEvent, Metric
from training.trainer import events

METRIC_FIELDS = (
    "step", "epoch", "loss", "learning_rate", "grad_norm", "tokens", "tokens_per_s",
    "samples_per_s", "memory_mb",
)  # fmt: skip


class Fenced(Exception):
    """The job has ended or was given to another attempt: stop working on it."""


@transaction.atomic
def take_over(
    job: Job, attempt: int, lines: list[dict[str, Any]], step_seconds: float | None
) -> None:
    """Write the lines that are new. Raises Fenced. Refreshes ``job``."""
    current = Job.objects.filter(pk=job.pk, attempt=attempt, status__in=ACTIVE)
    if not current.update(heartbeat_at=timezone.now()):  # also locks the row
        raise Fenced
    job.refresh_from_db()
    new = [line for line in lines if line["seq"] > job.trainer_seq]
    if not new:
        return
    metrics, told, checkpoints = [], [], []
    kept: list[int] = []  # the steps of the checkpoints that the trainer has left on disk
    changes: dict[str, Any] = {"trainer_seq": new[-1]["seq"]}
    for cursor, line in enumerate(new, start=job.cursor + 1):
        facts = {k: v for k, v in line.items() if k not in ("seq", "event", "time")}
        when = datetime.fromtimestamp(line["time"], UTC)
        if line["event"] == events.STEP:
            metrics.append(Metric(job=job, cursor=cursor, logged_at=when, **_known(facts)))
            changes |= {"step": facts["step"], "last_metrics": facts}
            continue
        told.append(
            JobEvent(
                job=job,
                cursor=cursor,
                event=line["event"],
                step=facts.get("step"),
                message=sentence(line["event"], facts),
                facts=facts,
                created_at=when,
            )
        )
        if line["event"] == events.PLAN:
            changes["max_steps"] = facts["max_steps"]
        elif line["event"] in (events.EVALUATION, events.BEST):
            changes["evaluation"] = _evaluation(changes.get("evaluation", job.evaluation), facts)
        elif line["event"] == events.CHECKPOINT:
            checkpoints.append(
                Checkpoint(
                    job=job,
                    step=facts["step"],
                    path=facts["path"],
                    size_bytes=facts["size_bytes"],
                    created_at=when,
                )
            )
            kept = facts["kept"]
    Metric.objects.bulk_create(metrics, batch_size=500)
    JobEvent.objects.bulk_create(told, batch_size=500)
    Checkpoint.objects.bulk_create(checkpoints, ignore_conflicts=True)
    if kept:
        Checkpoint.objects.filter(job=job).exclude(step__in=kept).delete()
    if step_seconds is not None:
        changes["step_seconds"] = step_seconds
    Job.objects.filter(pk=job.pk).update(
        cursor=F("cursor") + len(new), updated_at=timezone.now(), **changes
    )
    job.refresh_from_db()
    push_on_commit(group_of(job.pk), "job.changed")


def _known(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: facts.get(name) for name in METRIC_FIELDS}


def _evaluation(known: dict[str, Any], facts: dict[str, Any]) -> dict[str, Any]:
    """``before``: the base model. ``after``: the newest numbers of the model in training, in the
    end those of the result."""
    return {**known, "after" if facts["step"] else "before": facts}


def sentence(event: str, facts: dict[str, Any]) -> str:
    """What a trainer's event means, for people."""
    if event == events.DATA:
        text = f"{facts.get('train_rows', 0):,} rows to train on"
        if facts.get("eval_rows"):
            text += f", {facts['eval_rows']:,} held out"
        if facts.get("truncated_rows"):
            text += f"; {facts['truncated_rows']:,} were cut to the longest length allowed"
        if facts.get("dropped_rows"):
            text += f"; {facts['dropped_rows']:,} had nothing to learn from and were left out"
        return text + "."
    if event == events.DATA_PROGRESS:
        return f"{facts['percent']} % of the data is read, {facts['rows']:,} rows so far."
    if event == events.MODEL:
        return (
            f"{facts.get('parameters', 0):,} parameters, {facts.get('trainable_parameters', 0):,} "
            f"of them trained, on {facts.get('device', 'the device')}."
        )
    if event == events.PLAN:
        return f"{facts['max_steps']:,} steps to go."
    if event == events.EVALUATION:
        numbers = {k: v for k, v in facts.items() if k != "step" and isinstance(v, int | float)}
        who = f"After step {facts['step']:,}" if facts.get("step") else "Base model"
        return who + ": " + ", ".join(f"{_words(k)} {v:.4g}" for k, v in numbers.items()) + "."
    if event == events.BEST:
        return f"The best checkpoint is that of step {facts['step']:,}: it is the result."
    if event == events.BATCH_HALVED:
        return (
            f"Out of memory: micro batches of {facts['micro_batch_size']:,} instead of "
            f"{facts['before']:,} from step {facts['step']:,} on, {facts['grad_accum']:,} of them "
            "to a step. The same rows in less memory."
        )
    if event == events.CHECKPOINT:
        return f"Checkpoint of step {facts['step']:,}, {facts['size_bytes'] / 2**20:,.1f} MiB."
    if event == events.EXPORT:
        text = f"Exported as {facts['kind']}, {facts['size_bytes'] / 2**20:,.1f} MiB"
        if (difference := facts.get("max_logit_difference")) is not None:
            verdict = "" if difference <= facts["tolerance"] else " (too much)"
            return f"{text}; loaded again its logits differ by {difference:.2g} at most{verdict}."
        return f"{text}; not compared: {facts.get('unchecked', 'no reason given')}."
    if event == events.EXPORT_FAILED:
        return f"No export as {facts['kind']}: {facts['message']}"
    if event == events.REPORTING_FAILED:
        return f"Nothing more is reported to {facts['kind']}: {facts['message']}"
    return ""


def _words(name: str) -> str:
    return name.removeprefix("eval_").replace("_", " ")
