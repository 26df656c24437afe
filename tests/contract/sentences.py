"""What the sentences of the contract have in common: ids, times, the envelope."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime
from typing import Any


def is_uuid(value: Any) -> bool:
    """A string of 36 characters."""
    return isinstance(value, str) and len(value) == 36 and str(uuid.UUID(value)) == value


def is_utc(value: Any) -> bool:
    """ISO 8601, in UTC, with a Z."""
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", value):
        return False
    return datetime.fromisoformat(value).tzinfo == UTC


def listed(answer: Any, plural: str) -> list[dict[str, Any]]:
    """The rows of a list, whose envelope has nothing else in it."""
    assert answer.status_code == 200, answer.json()
    assert set(answer.json()) == {plural, "total", "limit", "offset"}
    rows: list[dict[str, Any]] = answer.json()[plural]
    return rows


def names(answer: Any, plural: str) -> set[str]:
    return {row["name"] for row in listed(answer, plural)}
