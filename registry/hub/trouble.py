"""What can go wrong with a transfer, in words for the person who asked for it."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypedDict

LONGEST_ASKED_SECONDS = 3600.0


class Failure(TypedDict):
    kind: str
    message: str
    advice: str


class Trouble(Exception):
    """The transfer cannot go on now. ``passes``: it may go better later; ``wait_seconds`` is when
    the other side has said so itself. ``keep`` is off where what has come is of no use."""

    def __init__(
        self,
        kind: str,
        message: str,
        advice: str = "",
        *,
        passes: bool = False,
        wait_seconds: float | None = None,
        keep: bool = True,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.advice = advice
        self.passes = passes
        self.wait_seconds = wait_seconds
        self.keep = keep

    @property
    def failure(self) -> Failure:
        return {"kind": self.kind, "message": self.message, "advice": self.advice}


class Stopped(Exception):
    """Not a failure: somebody has paused or cancelled it, or its worker is going down."""


def asked_to_wait(retry_after: str) -> float | None:
    """Seconds, where the other side says by ``Retry-After`` when it wants to be asked again: so
    many, or a moment (RFC 9110). Not for ever, whatever it says."""
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            moment = parsedate_to_datetime(retry_after)
        except ValueError:
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        seconds = (moment - datetime.now(UTC)).total_seconds()
    return None if math.isnan(seconds) else min(max(seconds, 0.0), LONGEST_ASKED_SECONDS)
