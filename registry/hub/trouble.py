"""What can go wrong with a transfer, in words for the person who asked for it."""

from __future__ import annotations

from typing import TypedDict


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
