"""Where the bytes of a transfer come from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Protocol

from registry.hub.selection import Plan

Opened = tuple[int, Iterator[bytes]]


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
