"""A request with an ``Idempotency-Key`` may be sent again and again, and is done once.

1. `claim` writes the key down before the work begins, and commits: the same key sent meanwhile is
   told to wait.
2. `keep` writes the answer beside it, inside the transaction of what the request creates. Both are
   there or neither: a server that is killed leaves an answer to repeat, or a claim without one.
3. A claim without an answer counts for LEASE, then the next request takes the key over. If the
   first was only slow, both work, and whoever is done first has won: `keep` is one conditional
   UPDATE. The other one is rolled back and repeats the winner's answer.

Claim and work are not one transaction because to read a large dataset takes minutes, in which
SQLite would let nobody else write.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone
from rest_framework import status
from rest_framework.exceptions import APIException

from accounts.models import IdempotencyKey
from api.errors import Conflict

LEASE = timedelta(minutes=1)
KEPT = timedelta(hours=24)


class InProgress(Conflict):
    """Somebody is at work on it. ``wait`` becomes Retry-After."""

    wait = 1

    def __init__(self) -> None:
        super().__init__("A request with this Idempotency-Key is in progress. Send it again later.")


class KeyReused(APIException):
    """422: the key belongs to another request."""

    status_code = status.HTTP_422_UNPROCESSABLE_ENTITY
    default_code = "idempotency_key_reused"

    def __init__(self, earlier: IdempotencyKey, request: str) -> None:
        other = "another body" if earlier.request == request else earlier.request
        super().__init__(
            f"The Idempotency-Key '{earlier.key}' was sent with {other} before. "
            "Another request needs another key."
        )


class AnsweredMeanwhile(Exception):
    """Somebody else took the key over and was done first; ``winner`` has the answer."""

    def __init__(self, winner: IdempotencyKey) -> None:
        super().__init__(str(winner))
        self.winner = winner


def claim(user: Any, key: str, *, request: str, body_sha256: str) -> IdempotencyKey:
    """The request under its key: answered already if it has a ``status``, else the caller's to do,
    who ends it with `keep` or `give_up`. Raises InProgress and KeyReused."""
    ours = IdempotencyKey(
        user=user, key=key, request=request, body_sha256=body_sha256, claimed_at=timezone.now()
    )
    try:
        with transaction.atomic():
            ours.save(force_insert=True)
        return ours
    except IntegrityError:
        earlier = IdempotencyKey.objects.filter(user=user, key=key).first()
    if earlier is None:  # given up in this very moment
        raise InProgress
    if (earlier.request, earlier.body_sha256) != (request, body_sha256):
        raise KeyReused(earlier, request)
    if earlier.status is None:
        _take_over(earlier)
    return earlier


def _take_over(earlier: IdempotencyKey) -> None:
    """Raises InProgress unless its lease has run out, and for the second of two who try."""
    now = timezone.now()
    unanswered = IdempotencyKey.objects.filter(pk=earlier.pk, status=None)
    stale = unanswered.filter(claimed_at=earlier.claimed_at, claimed_at__lt=now - LEASE)
    if not stale.update(claimed_at=now):
        raise InProgress
    earlier.claimed_at = now


def keep(claimed: IdempotencyKey, status: int, body: str) -> None:
    """Write the answer down, inside the transaction of what it tells of.

    Raises AnsweredMeanwhile, and that transaction must then be rolled back.
    """
    unanswered = IdempotencyKey.objects.filter(pk=claimed.pk, status=None)
    if not unanswered.update(status=status, body=body):
        winner = IdempotencyKey.objects.filter(pk=claimed.pk).first()
        if winner is None:  # who had taken it over was refused
            raise InProgress
        raise AnsweredMeanwhile(winner)


def give_up(claimed: IdempotencyKey) -> None:
    """Nothing was created: the key is free for a request that has been put right."""
    ours = IdempotencyKey.objects.filter(pk=claimed.pk, status=None)
    ours.filter(claimed_at=claimed.claimed_at).delete()


def forget_old() -> int:
    """Remove the keys older than KEPT; how many there were."""
    old = IdempotencyKey.objects.filter(created_at__lt=timezone.now() - KEPT)
    return old.delete()[0]
