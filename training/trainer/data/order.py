"""Which rows each step takes.

The order of the rows follows from (seed, epoch) alone, so the number of a step says exactly where
in the data it is: a run that goes on from a checkpoint needs no other bookmark.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

MEGA_BATCH_STEPS = 50

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Order:
    """``lengths`` (rows,) where rows of about the same length are to come together
    (`group_by_length`), None where their length plays no part."""

    rows: int
    batch_size: int
    seed: int
    lengths: Numbers | None = None
    _epochs: dict[int, Numbers] = field(default_factory=dict, init=False, repr=False)

    def of_step(self, step: int) -> list[int]:
        """The rows of one step (from 0), ``batch_size`` of them always.

        The epochs are read one behind the other without a gap: a last batch that the epoch cannot
        fill goes on with the first rows of the next epoch.
        """
        places = range(step * self.batch_size, (step + 1) * self.batch_size)
        return [int(self.of_epoch(place // self.rows)[place % self.rows]) for place in places]

    def of_epoch(self, epoch: int) -> Numbers:
        """Every row once."""
        if epoch not in self._epochs:
            order = np.random.default_rng([self.seed, epoch]).permutation(self.rows)
            if self.lengths is not None:
                order = _grouped(order, self.lengths, self.batch_size)
            while len(self._epochs) > 1:
                del self._epochs[min(self._epochs)]
            self._epochs[epoch] = order
        return self._epochs[epoch]


def _grouped(order: Numbers, lengths: Sequence[int] | Numbers, batch_size: int) -> Numbers:
    """As Transformers groups by length (`get_length_grouped_indices`): the order is cut into mega
    batches of up to 50 batches, and inside of each the longest row comes first. The longest of all
    comes at the very beginning, so that memory that is too small is noticed at once."""
    lengths = np.asarray(lengths)
    steps = max(1, min(len(order) // (batch_size * 4), MEGA_BATCH_STEPS))
    size = steps * batch_size
    grouped = order.copy()
    for start in range(0, len(order), size):
        part = order[start : start + size]
        grouped[start : start + size] = part[np.argsort(-lengths[part], kind="stable")]
    longest = int(np.argmax(lengths[grouped[::size]])) * size
    grouped[[0, longest]] = grouped[[longest, 0]]
    return grouped
