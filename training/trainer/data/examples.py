"""What a run learns from, whatever its kind."""

from __future__ import annotations

import bisect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, overload

import numpy as np
import numpy.typing as npt


class Example(Protocol):
    """One row, ready for the model."""

    @property
    def length(self) -> int:
        """The tokens that the model computes for it, padding not counted."""
        ...

    @property
    def weight(self) -> int:
        """What the sum of its losses is divided by: its tokens that carry loss, or one."""
        ...


E = TypeVar("E", bound=Example)


class MadeWhenAsked(Sequence[E], ABC):
    """Rows of which only few are objects at any moment. ``lengths`` (rows,) are known of all."""

    lengths: npt.NDArray[np.int64]

    @abstractmethod
    def made(self, index: int) -> E:
        """The row with this number, from 0."""

    def __len__(self) -> int:
        return len(self.lengths)

    @overload
    def __getitem__(self, index: int) -> E: ...
    @overload
    def __getitem__(self, index: slice) -> list[E]: ...
    def __getitem__(self, index: int | slice) -> E | list[E]:
        if isinstance(index, slice):
            return [self.made(i) for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return self.made(index % len(self))


class Some(MadeWhenAsked[E]):
    """Of ``rows`` those with these numbers."""

    def __init__(self, rows: Sequence[E], numbers: Sequence[int]) -> None:
        self._rows = rows
        self._numbers = np.asarray(numbers, np.int64)
        self.lengths = lengths_of(rows)[self._numbers]

    def made(self, index: int) -> E:
        return self._rows[int(self._numbers[index])]


class Joined(MadeWhenAsked[E]):
    """The rows of several sequences, one behind the other."""

    def __init__(self, *parts: Sequence[E]) -> None:
        self._parts = [part for part in parts if len(part)]
        self._ends = np.cumsum([len(part) for part in self._parts]).tolist()
        counts = [lengths_of(part) for part in self._parts]
        self.lengths = np.concatenate(counts) if counts else np.empty(0, np.int64)

    def made(self, index: int) -> E:
        which = bisect.bisect_right(self._ends, index)
        return self._parts[which][index - (self._ends[which - 1] if which else 0)]


@dataclass(frozen=True)
class Examples(Generic[E]):
    """``truncated`` rows were cut to max_length and kept, ``dropped`` ones had nothing to learn.
    ``rows`` may lie on disk: to go through all of them costs more than `lengths_of`."""

    rows: Sequence[E]
    truncated: int = 0
    dropped: int = 0

    @property
    def tokens(self) -> int:
        return int(lengths_of(self.rows).sum())


def lengths_of(rows: Sequence[Example]) -> npt.NDArray[np.int64]:
    """Of every row, without making those that are made when they are asked for."""
    known: npt.NDArray[np.int64] | None = getattr(rows, "lengths", None)
    return np.fromiter((row.length for row in rows), np.int64) if known is None else known
