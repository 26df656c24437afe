"""The table of moves and `move()`: the only code that writes ``Job.status``.

A move is one conditional UPDATE. Whoever comes second changes nothing and gets `IllegalMove`. In
the same transaction a `JobEvent` is written, and open pages are told after commit.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from activity.live import push_on_commit
from training.models import FINAL, Job, JobEvent, Status

MOVES: dict[str, frozenset[str]] = {
    Status.PENDING: frozenset({Status.QUEUED, Status.CANCELLED}),
    # Back to QUEUED: its worker was lost or is going down, another one takes it up.
    Status.QUEUED: frozenset({Status.RUNNING, Status.PAUSED, Status.CANCELLED, Status.FAILED}),
    Status.RUNNING: frozenset(
        {Status.QUEUED, Status.PAUSING, Status.COMPLETED, Status.FAILED, Status.CANCELLED}
    ),
    Status.PAUSING: frozenset({Status.PAUSED, Status.COMPLETED, Status.FAILED, Status.CANCELLED}),
    Status.PAUSED: frozenset({Status.QUEUED, Status.CANCELLED}),
    Status.COMPLETED: frozenset(),
    Status.FAILED: frozenset({Status.QUEUED}),  # retry
    Status.CANCELLED: frozenset({Status.QUEUED}),  # retry
}


class IllegalMove(Exception):
    """The job is not in a state from which this can be done."""

    def __init__(self, job: Job, to: str) -> None:
        super().__init__(f"Job '{job.name}' is {job.status} and cannot become {to}.")
        self.job = job
        self.to = to


def group_of(job_id: Any) -> str:
    """The channel group of one job's page."""
    return f"job-{job_id}"


def sources_of(to: str) -> list[str]:
    return [source for source, targets in MOVES.items() if to in targets]


@transaction.atomic
def move(
    job: Job,
    to: str,
    *,
    attempt: int | None = None,
    sources: frozenset[str] | None = None,
    event: str = "",
    message: str = "",
    facts: dict[str, Any] | None = None,
    **changes: Any,
) -> Job:
    """Bring ``job`` into the state ``to`` and write it down; ``changes`` are further columns.

    With ``attempt`` the move counts only while that attempt is the job's current one: a runner
    whose job was given to somebody else cannot end it. ``sources`` narrows the states to come from.
    Raises IllegalMove, and then nothing has changed. Refreshes ``job``.
    """
    now = timezone.now()
    allowed = set(sources_of(to)) & (sources or set(Status.values))
    changes = {"finished_at": now if to in FINAL else None, "updated_at": now, **changes}
    if to != Status.FAILED:
        changes["failure"] = None
    rows = Job.objects.filter(pk=job.pk, status__in=allowed)
    if attempt is not None:
        rows = rows.filter(attempt=attempt)
    if not rows.update(status=to, **changes):
        job.refresh_from_db()
        raise IllegalMove(job, to)
    tell(job, event or to.lower(), message=message, facts=facts, now=now)
    return job


def tell(
    job: Job,
    event: str,
    *,
    message: str = "",
    facts: dict[str, Any] | None = None,
    now: datetime | None = None,
) -> JobEvent:
    """Add one line to the job's history, inside the caller's transaction. Refreshes ``job``."""
    Job.objects.filter(pk=job.pk).update(cursor=F("cursor") + 1)
    job.refresh_from_db()
    push_on_commit(group_of(job.pk), "job.changed")
    return JobEvent.objects.create(
        job=job,
        cursor=job.cursor,
        event=event,
        step=job.step or None,
        message=message,
        facts=facts or {},
        created_at=now or timezone.now(),
    )
