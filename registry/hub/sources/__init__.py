"""Where the bytes of a transfer come from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Protocol

from registry.hub.selection import Plan
from registry.hub.trouble import Trouble

Opened = tuple[int, Iterator[bytes]]
PARTIAL_CONTENT = 206


def begins_at(status: int, content_range: str, offset: int, who: str) -> int:
    """The byte that an answer begins with. A server may not know ranges, or give another one than
    was asked for. Raises Trouble."""
    if status != PARTIAL_CONTENT:
        return 0
    begin = content_range.removeprefix("bytes ").partition("-")[0]
    if begin != str(offset):
        raise Trouble(
            "network",
            f"{who} sent the bytes from {begin or '?'} on instead of {offset}.",
            passes=True,
        )
    return offset


class Source(Protocol):
    """To be inherited from."""

    def plan(self) -> Plan:
        """What there is to fetch. Raises Trouble."""

    def hash_of(self, path: str, expected: str) -> str:
        """What the bytes of a file hash to, where the plan does not say it but the source knows.
        Empty where it does not. Raises Trouble."""
        return expected

    def open(
        self, plan: Plan, path: str, size_bytes: int, offset: int
    ) -> AbstractContextManager[Opened]:
        """The byte that the answer really begins with (``offset`` or 0), and the bytes. They may
        end early. Raises Trouble."""
