"""What becomes of a transfer when an attempt at it has ended. Each ending is one transaction."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from registry.hub import lifecycle
from registry.hub.models import Status, Transfer
from registry.hub.trouble import Failure, Trouble

LONGEST_WAIT_SECONDS = 600.0
LOST = Trouble(
    "lost_worker",
    "The worker that moved it was lost.",
    "Its log in TRAINYARD_HOME/logs may say why: was there memory enough?",
    passes=True,
    wait_seconds=0,
)
RUNNING = frozenset({Status.RUNNING})


def troubled(transfer: Transfer, attempt: int, trouble: Trouble) -> None:
    """Into the queue again, later, where it may pass; the end where it will not, or has not for
    too long. Bytes that have come in between count as a new start. Raises IllegalMove."""
    transfer.refresh_from_db()
    further = transfer.bytes_transferred > transfer.bytes_at_last_try
    tries = 1 if further else transfer.tries + 1
    if not trouble.passes or tries >= settings.TRAINYARD_TRANSFER_TRIES:
        failed(transfer, attempt, _given_up(trouble, tries))
        return
    seconds = trouble.wait_seconds
    if seconds is None:
        first = settings.TRAINYARD_TRANSFER_BACKOFF_SECONDS
        longest = min(first * 2.0 ** (tries - 1), LONGEST_WAIT_SECONDS)
        seconds = longest * random.uniform(0.75, 1.0)
    again = f"Tries again, {tries + 1} of {settings.TRAINYARD_TRANSFER_TRIES}."
    lifecycle.move(
        transfer,
        Status.QUEUED,
        attempt=attempt,
        sources=RUNNING,
        tries=tries,
        bytes_at_last_try=transfer.bytes_transferred,
        not_before=timezone.now() + timedelta(seconds=seconds),
        waiting_reason=f"{trouble.message} {again}"[:300],
    )


def _given_up(trouble: Trouble, tries: int) -> Failure:
    failure = trouble.failure
    if trouble.passes:
        failure["message"] += f" That was so {tries} times in a row."
    return failure


@transaction.atomic
def failed(transfer: Transfer, attempt: int, failure: Failure) -> None:
    """Raises IllegalMove."""
    lifecycle.move(
        transfer, Status.FAILED, attempt=attempt, sources=RUNNING, failure=failure, tries=0
    )
    lifecycle.tell(
        transfer,
        "failed",
        "error",
        message=failure["message"],
        failure_kind=failure["kind"],
    )


def put_back(transfer: Transfer, attempt: int) -> None:
    """Its worker goes down; another one, or the next, goes on from here. Raises IllegalMove."""
    lifecycle.move(
        transfer,
        Status.QUEUED,
        attempt=attempt,
        sources=RUNNING,
        waiting_reason="Its worker was stopped. It goes on when one is there.",
    )


@transaction.atomic
def completed(transfer: Transfer, attempt: int, result: dict[str, Any], message: str) -> None:
    """Inside the transaction of what it has made. Raises IllegalMove, which rolls that back."""
    lifecycle.move(
        transfer,
        Status.COMPLETED,
        attempt=attempt,
        sources=RUNNING,
        result=result,
        bytes_transferred=transfer.size_bytes,
        files_done=transfer.files_total,
    )
    lifecycle.tell(transfer, "completed", "success", message=message, result_id=result.get("id"))
