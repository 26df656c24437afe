"""What is done to several transfers at once, from their list."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from accounts.models import User
from registry.hub import dispatch
from registry.hub.models import Status, Transfer
from tests.factories import make_transfer
from tests.pages import Page

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(ana: User, home: Any, monkeypatch: pytest.MonkeyPatch) -> Client:
    monkeypatch.setattr(dispatch, "ring", lambda transfers: None)
    client = Client()
    client.force_login(ana)
    return client


def tick(client: Client, do: str, *transfers: Transfer) -> str:
    ids = [str(transfer.pk) for transfer in transfers]
    return Page(client.post("/transfers/bulk", {"do": do, "transfer": ids}, follow=True)).words


@pytest.mark.parametrize(
    ("do", "status", "after"),
    [
        ("pause", Status.RUNNING, Status.PAUSED),
        ("resume", Status.PAUSED, Status.QUEUED),
        ("retry", Status.FAILED, Status.QUEUED),
        ("cancel", Status.QUEUED, Status.CANCELLED),
    ],
)
def test_what_one_can_do_several_can(client: Client, do: str, status: str, after: str) -> None:
    transfers = [make_transfer(status=status) for _ in range(4)]
    assert "4 " in tick(client, do, *transfers)
    assert list(Transfer.objects.values_list("status", flat=True)) == [after] * 4


def test_what_refuses_stays_and_is_named(client: Client) -> None:
    moving, done = make_transfer(name="moving"), make_transfer(name="done", status=Status.COMPLETED)
    words = tick(client, "cancel", moving, done)
    assert f"'{moving}' cancelled." in words
    assert f"The transfer of '{done}' is COMPLETED and cannot become CANCELLED." in words
    assert set(Transfer.objects.values_list("status", flat=True)) == {"CANCELLED", "COMPLETED"}
