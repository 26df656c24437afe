"""The table of moves and `move()`: the only code that writes ``Transfer.status``.

A move is one conditional UPDATE, as with jobs. Whoever comes second changes nothing and gets
`IllegalMove`.
"""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from activity.record import record
from registry.hub.models import FINAL, Status, Transfer

MOVES: dict[str, frozenset[str]] = {
    Status.QUEUED: frozenset({Status.RUNNING, Status.PAUSED, Status.FAILED, Status.CANCELLED}),
    # Back to QUEUED: the network or its worker failed it, or the worker is going down.
    Status.RUNNING: frozenset(
        {Status.QUEUED, Status.PAUSED, Status.COMPLETED, Status.FAILED, Status.CANCELLED}
    ),
    Status.PAUSED: frozenset({Status.QUEUED, Status.CANCELLED}),
    Status.COMPLETED: frozenset(),
    Status.FAILED: frozenset({Status.QUEUED, Status.CANCELLED}),  # retry, or give up its bytes
    Status.CANCELLED: frozenset({Status.QUEUED}),  # retry
}


class IllegalMove(Exception):
    """The transfer is not in a state from which this can be done."""

    def __init__(self, transfer: Transfer, to: str) -> None:
        super().__init__(
            f"The transfer of '{transfer}' is {transfer.status} and cannot become {to}."
        )
        self.transfer = transfer
        self.to = to


def sources_of(to: str) -> frozenset[str]:
    return frozenset(source for source, targets in MOVES.items() if to in targets)


@transaction.atomic
def move(
    transfer: Transfer,
    to: str,
    *,
    attempt: int | None = None,
    sources: frozenset[str] | None = None,
    **changes: Any,
) -> Transfer:
    """Bring ``transfer`` into the state ``to``; ``changes`` are further columns.

    With ``attempt`` the move counts only while that attempt is the current one: a worker whose
    transfer was given to another cannot end it. Raises IllegalMove, and then nothing has changed.
    Refreshes ``transfer``.
    """
    now = timezone.now()
    allowed = sources_of(to) & (sources or frozenset(Status.values))
    fields: dict[str, Any] = {
        "finished_at": now if to in FINAL else None,
        "updated_at": now,
        "phase": "",
        "rate_bytes_s": None,
        "waiting_reason": "",
        "not_before": None,
        "failure": None,
        "result": None,
    }
    if to == Status.QUEUED:
        fields |= {"attempt": F("attempt") + 1, "sent_at": None, "worker": "", "queued_at": now}
    rows = Transfer.objects.filter(pk=transfer.pk, status__in=allowed)
    if attempt is not None:
        rows = rows.filter(attempt=attempt)
    moved = rows.update(status=to, **{**fields, **changes})
    transfer.refresh_from_db()
    if not moved:
        raise IllegalMove(transfer, to)
    return transfer


def tell(transfer: Transfer, what: str, status: str, *, message: str = "", **facts: Any) -> None:
    """A line in the feed: ``what`` is started, completed or failed. Last in the transaction."""
    record(
        f"transfer_{what}",
        entity_type="transfer",
        entity_id=transfer.pk,
        title=f"Transfer {what}: {transfer}",
        message=message,
        status=status,
        user=transfer.created_by,
        project_id=transfer.project_id,
        metadata={
            "transfer_id": str(transfer.pk),
            "kind": transfer.kind,
            **({"hf_repo_id": transfer.hf_repo_id} if transfer.hf_repo_id else {}),
            "size_bytes": transfer.size_bytes,
            **facts,
        },
    )
