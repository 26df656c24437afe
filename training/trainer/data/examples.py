"""What a run learns from, whatever its kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

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
    """Of every row, without looking at those that are on disk (`rows.Rows` knows them)."""
    known: npt.NDArray[np.int64] | None = getattr(rows, "lengths", None)
    return np.fromiter((row.length for row in rows), np.int64) if known is None else known
