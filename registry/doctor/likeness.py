"""Which rows are the same, or nearly: by a hash of each, and by MinHash sketches (Broder 1997).

Of the 64 values of a sketch one byte each is kept (b-bit minwise hashing, Li and König 2010), so a
million rows take 64 MB. Four bytes make a band; rows that share a band are compared in full.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from rensa import RMinHash

from registry.doctor.twins import Alike, Twins, first_alike, join, twins_of

VALUES = 64
BAND = 4
NEAR = 0.8  # of their shingles are the same
SHINGLE_WORDS = 3
FEWEST_SHINGLES = 8  # of a shorter text nobody can tell
_MOST_WORDS = 2000
_LETTERS = 5  # make a shingle where there are no words
_PAIRS_AT_ONCE = 200_000
# About 90 bytes each with a sketch, 26 without.
MOST_COMPARED = 5_000_000
MOST_SKETCHED = 1_500_000

Keys = npt.NDArray[np.uint64]
Sketches = npt.NDArray[np.uint8]


def shingles(text: str) -> list[str]:
    """Few or none where the text is too short to be told from others."""
    words = text[: 20 * _MOST_WORDS].lower().split()[:_MOST_WORDS]
    if len(words) * 15 < len(text) and len(words) < _MOST_WORDS:  # written without spaces
        joined = "".join(words)[:_MOST_WORDS]
        found = [joined[n : n + _LETTERS] for n in range(len(joined) - _LETTERS + 1)]
    else:
        found = [" ".join(three) for three in zip(words, words[1:], words[2:], strict=False)]
    return found if len(found) >= FEWEST_SHINGLES else []


def sketches_of(texts: list[str]) -> Sketches:
    """(rows, VALUES); zeros where a text is too short."""
    cut = [shingles(text) for text in texts]
    found = np.zeros((len(texts), VALUES), np.uint8)
    there = [index for index, one in enumerate(cut) if one]
    if there:
        digests = RMinHash.digests_from_token_sets([cut[index] for index in there], VALUES, 1)
        found[there] = np.array(digests, np.uint32).astype(np.uint8)
    return found


@dataclass
class Gathered:
    """What is remembered of all rows, in their order."""

    keys: list[Keys] = field(default_factory=list)
    sketches: list[Sketches] = field(default_factory=list)
    rows: int = 0
    sketched: int = 0

    def add(self, keys: Keys, sketches: Sketches) -> int:
        """How many of the rows are remembered."""
        kept = keys[: max(MOST_COMPARED - self.rows, 0)]
        if self.sketched == self.rows < MOST_SKETCHED:
            self.sketches.append(sketches[: len(kept)])
            self.sketched += len(kept)
        self.keys.append(kept)
        self.rows += len(kept)
        return len(kept)

    @property
    def all_keys(self) -> Keys:
        self.keys = [np.concatenate([np.empty(0, np.uint64), *self.keys])]
        return self.keys[0]

    def twins(self) -> Twins:
        keys = self.all_keys
        same = first_alike(keys)
        sketches = np.concatenate([np.empty((0, VALUES), np.uint8), *self.sketches])
        self.sketches = []
        heads = np.flatnonzero((same == np.arange(len(keys)))[: len(sketches)])
        return twins_of(same, heads, alike(sketches[heads]), self.sketched)


def alike(sketches: Sketches) -> Alike:
    near, first = np.arange(len(sketches)), np.arange(len(sketches))
    numbers = np.flatnonzero(sketches.any(axis=1))  # the others are too short to be told apart
    sketches = sketches[numbers]
    bands = np.ascontiguousarray(sketches).view(np.uint32)
    for band in bands.T if len(sketches) else []:
        for one, other in _meeting(np.ascontiguousarray(band)):
            is_near = (sketches[one] == sketches[other]).mean(axis=1) >= NEAR
            one, other = numbers[one[is_near]], numbers[other[is_near]]
            np.minimum.at(near, other, one)
            join(first, one, other)
    return Alike(near, first)


def _meeting(band: npt.NDArray[np.uint32]) -> Iterator[tuple[Any, Any]]:
    """Pairs of rows with the same band, the earlier first: each with the first and the last before
    it. All pairs would be too many where a thousand rows begin alike."""
    order = np.argsort(band, kind="stable")
    ordered = band[order]
    is_next = ordered[1:] == ordered[:-1]
    place = np.arange(len(order))
    head = np.maximum.accumulate(np.where(np.r_[True, ~is_next], place, 0))
    later = np.flatnonzero(is_next) + 1
    for start in range(0, len(later), _PAIRS_AT_ONCE):
        part = later[start : start + _PAIRS_AT_ONCE]
        yield order[part - 1], order[part]
        yield order[head[part]], order[part]
