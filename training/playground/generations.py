"""What people and programs do with prompts: ask, and cancel; and how a prompt ends.

Each move is one conditional UPDATE, as `training.lifecycle` does it for jobs: whoever comes second
changes nothing.
"""

from __future__ import annotations

import secrets
from dataclasses import asdict, replace
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from accounts.models import Project
from activity.live import push_on_commit
from registry.models import Adapter, BaseModel
from training import checking, quotas, scheduler
from training.models import Generation, Partition, Serving, Status
from training.playground.targets import Target
from training.trainer import orders

# A project's prompts that are waiting at the same time.
MOST_WAITING = 50


class CannotAsk(ValueError):
    """``field`` names what cannot be, the message says why."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class TooMany(Exception):
    """The project has to wait for its answers first."""


class AlreadyOver(Exception):
    def __init__(self, generation: Generation) -> None:
        super().__init__(f"The prompt is {generation.status} and cannot become CANCELLED.")


def group_of(generation_id: Any) -> str:
    """The channel group of one prompt's page."""
    return f"generation-{generation_id}"


def ask(
    *,
    target: Target,
    actor: Any,
    project: Project,
    prompt: str = "",
    messages: list[dict[str, str]] | None = None,
    compare: bool = False,
    sampling: orders.Sampling | None = None,
    seed: int | None = None,
    time_limit_s: int | None = None,
    gpus: int | None = None,
    partition: Partition | None = None,
) -> Generation:
    """Put a prompt into the queue. Raises CannotAsk or TooMany, and then nothing was written.

    Without a ``seed`` it gets one of its own, which is written down: the same one gives the same
    answer again."""
    if messages and target.has_chat_template is False:
        raise CannotAsk(
            "messages", f"The tokenizer of {target.what} has no chat template; give a prompt."
        )
    if compare and not target.can_compare:
        raise CannotAsk("compare", f"{target.what} is a base model; there is nothing to compare.")
    longest = settings.TRAINYARD_PLAYGROUND_SECONDS
    if time_limit_s is not None and time_limit_s > longest:
        raise CannotAsk("time_limit_s", f"At most {longest} (TRAINYARD_PLAYGROUND_SECONDS).")
    resources = {"partition_id": str(partition.pk) if partition else None}
    gpus = checking.default_gpus(resources) if gpus is None else gpus
    cards = {"gpus": gpus}
    if refused := quotas.refused_cards(project, cards, quotas.hours_left(project, cards)):
        raise CannotAsk("gpus", " ".join(refused))
    waiting = Generation.objects.filter(project=project, status=Status.QUEUED)
    if waiting.count() >= MOST_WAITING:
        raise TooMany(f"{MOST_WAITING} prompts of this project are waiting already.")
    seed = secrets.randbelow(2**31) if seed is None else seed
    with transaction.atomic():
        generation = Generation.objects.create(
            project=project,
            created_by=actor,
            job=target.job,
            base_model=target.base_model,
            tuned_model=target.tuned if isinstance(target.tuned, BaseModel) else None,
            adapter=target.tuned if isinstance(target.tuned, Adapter) else None,
            compare=compare,
            prompt=prompt,
            messages=messages or [],
            sampling=asdict(replace(sampling or orders.Sampling(), seed=seed)),
            time_limit_s=time_limit_s or longest,
            gpus=gpus,
            partition=partition,
        )
        scheduler.wake()
    return generation


def cancel(generation: Generation) -> Generation:
    """Stop it. What was written until then stays. Raises AlreadyOver."""
    with transaction.atomic():
        now = timezone.now()
        waiting = Generation.objects.filter(pk=generation.pk, status=Status.QUEUED)
        running = Generation.objects.filter(pk=generation.pk, status=Status.RUNNING)
        ended = move(waiting, status=Status.CANCELLED, finished_at=now, waiting_reason="")
        if not ended and not move(running, cancel_requested_at=now):
            generation.refresh_from_db()
            raise AlreadyOver(generation)
        generation.refresh_from_db()
    return generation


def take_up(serving: Serving, generation: Generation) -> bool:
    """QUEUED to RUNNING; False where somebody else was faster."""
    waiting = Generation.objects.filter(pk=generation.pk, status=Status.QUEUED)
    return move(
        waiting,
        status=Status.RUNNING,
        serving=serving,
        worker=serving.worker,
        started_at=timezone.now(),
        waiting_reason="",
        answers={},
    )


def end(serving: Serving, generation: Generation, answers: dict[str, Any], status: str) -> bool:
    """RUNNING to COMPLETED or CANCELLED. False where the prompt is not this serving's any more."""
    now = timezone.now()
    return move(_at_work(serving, generation), status=status, answers=answers, finished_at=now)


def write(serving: Serving, generation: Generation, answers: dict[str, Any]) -> bool:
    """What is said until now. False where the prompt is not this serving's any more."""
    return move(_at_work(serving, generation), answers=answers)


def fail(rows: Any, *, kind: str, message: str, advice: str) -> bool:
    """RUNNING (or QUEUED) to FAILED."""
    return move(
        rows.filter(status__in=[Status.QUEUED, Status.RUNNING]),
        status=Status.FAILED,
        failure={"kind": kind, "message": message, "advice": advice},
        finished_at=timezone.now(),
        waiting_reason="",
    )


def put_back(serving: Serving, generation: Generation) -> bool:
    """Who was to answer it has gone; another one answers from the beginning."""
    return move(
        _at_work(serving, generation),
        status=Status.QUEUED,
        serving=None,
        worker=None,
        started_at=None,
        answers={},
    )


def _at_work(serving: Serving, generation: Generation) -> Any:
    return Generation.objects.filter(pk=generation.pk, status=Status.RUNNING, serving=serving)


@transaction.atomic
def move(rows: Any, **changes: Any) -> bool:
    """Change these rows, by one UPDATE, and tell the pages that show them. Whether there were
    any."""
    found = list(rows.values_list("pk", flat=True))
    changed = bool(rows.filter(pk__in=found).update(cursor=F("cursor") + 1, **changes))
    for pk in found:
        push_on_commit(group_of(pk), "generation.changed")
    return changed
