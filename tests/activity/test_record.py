"""`record` writes inside the change's transaction and tells after it."""

from __future__ import annotations

import threading
import uuid

import pytest
from django.db import connection, transaction

from activity.models import Activity
from activity.record import record

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tasks that would go to the broker."""
    names: list[str] = []
    monkeypatch.setattr("activity.live._send", lambda task, options: names.append(task))
    return names


def note(title: str = "a") -> Activity:
    return record("job_created", entity_type="job", entity_id=uuid.uuid4(), title=title)


def test_outside_a_transaction_it_refuses() -> None:
    with pytest.raises(RuntimeError, match="inside the transaction"):
        note()


def test_a_rollback_erases_it_and_nobody_is_told(
    monkeypatch: pytest.MonkeyPatch, sent: list[str]
) -> None:
    rung: list[str] = []
    monkeypatch.setattr("activity.live.push", lambda group, kind, **facts: rung.append(group))
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        note()
        raise ZeroDivisionError
    assert not Activity.objects.exists()
    assert rung == sent == []
    with transaction.atomic():
        note()
        assert rung == []
    assert rung == ["activity-shared", "activity-all"]
    assert sent == ["activity.deliver"]


def test_a_broker_that_is_away_fails_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.undo()
    with transaction.atomic():
        note()
    assert Activity.objects.count() == 1
    assert "activity.deliver could not be sent" in caplog.text


def test_with_eight_writers_the_cursor_has_no_gap_and_none_fails() -> None:
    failures: list[Exception] = []

    def write() -> None:
        try:
            for _ in range(20):
                with transaction.atomic():
                    note()
        except Exception as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    cursors = sorted(Activity.objects.values_list("cursor", flat=True))
    assert cursors == list(range(cursors[0], cursors[0] + 160))
