"""One thing to be sent, and when to try it again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

# After the first try, the second, ...: all in all for a day and a half.
WAITS = (
    timedelta(seconds=10),
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=6),
    timedelta(hours=12),
    timedelta(hours=16),
)


@dataclass(frozen=True)
class Parcel:
    """``send`` talks to the network, in a thread and without the database; ``settle`` writes down
    what came of it."""

    send: Callable[[], Any]
    settle: Callable[[Any], None]


def wait_after(attempts: int, asked_seconds: int | None = None) -> timedelta | None:
    """How long to wait after so many failed tries, or longer where the other side asks for it (up
    to an hour). None: it has been tried often enough."""
    if attempts > len(WAITS):
        return None
    asked = timedelta(seconds=min(asked_seconds or 0, 3600))
    return max(WAITS[attempts - 1], asked)
