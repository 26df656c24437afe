"""Every legal move works, every other pair is refused, and the database agrees."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from registry.hub import lifecycle
from registry.hub.lifecycle import MOVES, IllegalMove
from registry.hub.models import FINAL, Status, Transfer
from tests.factories import make_transfer

pytestmark = pytest.mark.django_db

PAIRS = list(itertools.product(Status.values, repeat=2))
FAILURE = {"kind": "network", "message": "It was cut.", "advice": ""}


def needed(to: str) -> dict[str, Any]:
    facts = {Status.FAILED: {"failure": FAILURE}, Status.COMPLETED: {"result": {"kind": "commit"}}}
    return facts.get(Status(to), {})


def test_legal_moves_work_and_all_others_are_refused() -> None:
    for source, to in PAIRS:
        transfer = make_transfer(status=source)
        if to in MOVES[source]:
            attempt = transfer.attempt
            lifecycle.move(transfer, to, **needed(to))
            assert transfer.status == to
            assert (transfer.finished_at is not None) == (to in FINAL)
            assert transfer.attempt == attempt + (to == Status.QUEUED)
        else:
            before = Transfer.objects.values().get(pk=transfer.pk)
            with pytest.raises(IllegalMove, match=f"is {source} and cannot become {to}"):
                lifecycle.move(transfer, to, **needed(to))
            assert Transfer.objects.values().get(pk=transfer.pk) == before


def test_an_earlier_attempt_cannot_end_it() -> None:
    transfer = make_transfer(status=Status.RUNNING, attempt=2)
    with pytest.raises(IllegalMove):
        lifecycle.move(transfer, Status.COMPLETED, attempt=1, **needed(Status.COMPLETED))
    lifecycle.move(transfer, Status.COMPLETED, attempt=2, **needed(Status.COMPLETED))


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": "DREAMING"},
        {"kind": "ftp"},
        {"status": Status.RUNNING, "finished_at": "2026-01-01T00:00:00Z"},
        {"status": Status.COMPLETED, "finished_at": "2026-01-01T00:00:00Z", "result": None},
        {"status": Status.FAILED, "finished_at": "2026-01-01T00:00:00Z", "failure": None},
        {"failure": FAILURE},
    ],
)
def test_the_database_refuses_what_cannot_be(wrong: dict[str, Any]) -> None:
    transfer = make_transfer()
    with pytest.raises(IntegrityError), transaction.atomic():
        Transfer.objects.filter(pk=transfer.pk).update(**wrong)
