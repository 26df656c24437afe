"""Short rows in packs of up to ``max_length`` tokens, so that steps are of one size.

A pack is one example, the rows in it stay rows: each is computed as if it were alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.trainer.data.examples import Example, MadeWhenAsked, lengths_of
from training.trainer.data.tokens import Row


@dataclass(frozen=True)
class Pack:
    rows: tuple[Row, ...]

    @property
    def length(self) -> int:
        return sum(row.length for row in self.rows)

    @property
    def weight(self) -> int:
        return sum(row.weight for row in self.rows)


class Packs(MadeWhenAsked[Pack]):
    def __init__(self, rows: Sequence[Row], max_length: int) -> None:
        self._rows = rows
        of_rows = lengths_of(rows)
        self._packs = best_fit(of_rows, max_length)
        self.lengths = np.array([of_rows[pack].sum() for pack in self._packs], np.int64)

    def made(self, index: int) -> Pack:
        return Pack(tuple(self._rows[row] for row in self._packs[index]))


def best_fit(lengths: npt.NDArray[np.int64], max_length: int) -> list[list[int]]:
    """Best fit decreasing (TRL's ``bfd``): the longest row first, each into the pack where it
    leaves the least room. No row is longer than ``max_length``. The rows of each pack."""
    packs: list[list[int]] = []
    with_room: dict[int, list[int]] = {}  # tokens of room: packs
    rooms = 0  # a set of numbers, as bits: the keys of with_room
    for row in np.argsort(-lengths, kind="stable").tolist():
        length = int(lengths[row])
        enough = rooms >> length
        if enough:
            room = length + (enough & -enough).bit_length() - 1
            pack = with_room[room].pop()
            if not with_room[room]:
                rooms ^= 1 << room
        else:
            room, pack = max_length, len(packs)
            packs.append([])
        packs[pack].append(row)
        left = room - length
        with_room.setdefault(left, []).append(pack)
        rooms |= 1 << left
    return packs


def unpacked(examples: Sequence[Example]) -> list[Example]:
    """All rows, in their order, those of packs too."""
    rows: list[Example] = []
    for example in examples:
        rows.extend(example.rows if isinstance(example, Pack) else [example])
    return rows
