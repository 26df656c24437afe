"""How long the rows of a dataset are, as a histogram, and what follows from that alone.

A million rows cost what a hundred do: nothing here looks at single rows. What is worked out once
is kept, as the fixes of a report ask the same of the same rows again and again.
"""

from __future__ import annotations

import bisect
import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

Basis = Literal["counted", "sampled", "guessed"]

LARGEST_LENGTH = 10**9
MOST_ROWS = 10**12
# Of the places in a sorted pool, so many are looked at.
MOST_PLACES = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class Lengths:
    """``counts`` are the rows of each length in tokens, shortest first, each length once.

    ``basis`` says how they came about: all rows "counted" with the model's own tokenizer, all
    characters counted and the tokens "sampled", or "guessed" from the characters alone.
    ``longest`` is what no row exceeds, None where nobody can say. ``begins`` are rows by the tokens
    before the first from which anything is learned; none where every token is learned from.
    """

    counts: tuple[tuple[int, int], ...]
    basis: Basis = "counted"
    longest: int | None = None
    begins: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(
        cls,
        counts: Iterable[tuple[float, int]],
        *,
        basis: Basis = "counted",
        longest: int | None = None,
        begins: Iterable[tuple[int, int]] = (),
    ) -> Lengths | None:
        """From lengths in any order; what cannot be is left out. None where nothing is left."""
        found: dict[int, int] = {}
        for length, rows in counts:
            if 0 < length <= LARGEST_LENGTH and 0 < rows <= MOST_ROWS:
                whole = max(round(length), 1)
                found[whole] = found.get(whole, 0) + rows
        if not found:
            return None
        ordered = tuple(sorted(found.items()))
        if basis == "counted":
            longest = ordered[-1][0]
        elif longest is not None:
            longest = max(longest, ordered[-1][0])
        known = tuple(sorted(one for one in begins if one[0] >= 0 and one[1] > 0))
        return cls(counts=ordered, basis=basis, longest=longest, begins=known)

    @functools.cached_property
    def rows(self) -> int:
        return sum(rows for _, rows in self.counts)

    @functools.cached_property
    def tokens(self) -> int:
        return sum(length * rows for length, rows in self.counts)

    @property
    def mean(self) -> float:
        return self.tokens / self.rows

    @functools.cached_property
    def attended(self) -> float:
        """The length of the row that a token is in, on average over the tokens: what attention
        costs each of them."""
        return sum(length * length * rows for length, rows in self.counts) / self.tokens

    def longer_than(self, limit: int) -> int:
        """Rows."""
        return sum(rows for length, rows in self.counts if length > limit)

    def cut(self, limit: int) -> Lengths:
        """With every row cut to ``limit`` tokens."""
        if self.counts[-1][0] <= limit:
            return self
        if limit not in self._cuts:
            kept = [(length, rows) for length, rows in self.counts if length < limit]
            kept.append((limit, self.rows - sum(rows for _, rows in kept)))
            longest = None if self.longest is None else min(self.longest, limit)
            self._cuts[limit] = replace(self, counts=tuple(kept), longest=longest)
        return self._cuts[limit]

    def left_out(self, limit: int) -> float:
        """The share of the rows of which nothing to learn is left in ``limit`` tokens."""
        known = sum(rows for _, rows in self.begins)
        return sum(rows for begin, rows in self.begins if begin >= limit) / max(known, 1)

    def learned(self, limit: int) -> Lengths:
        """Cut to ``limit`` tokens, without the rows that are left out; all of those are longer.
        Where that is every row, with them."""
        cut, out = self.cut(limit), round(self.left_out(limit) * self.rows)
        if not out or out >= self.rows:
            return cut
        (length, rows), *others = reversed(cut.counts)
        left = [(length, max(rows - out, 0)), *others]
        return self._learned.setdefault(limit, replace(cut, counts=_sorted(left) or cut.counts))

    @functools.cached_property
    def _up_to(self) -> list[int]:
        """Rows that are as long as each length, or shorter."""
        total, found = 0, []
        for _, rows in self.counts:
            total += rows
            found.append(total)
        return found

    def at(self, share: float) -> float:
        """The length that this share of the rows does not exceed."""
        place = bisect.bisect_left(self._up_to, share * self.rows)
        return float(self.counts[min(place, len(self.counts) - 1)][0])

    def largest_of(self, draws: int) -> float:
        """The longest of so many rows drawn by chance, on average."""
        if draws <= 1:
            return self.mean
        before, total = 0.0, 0.0
        for (length, _), up_to in zip(self.counts, self._up_to, strict=True):
            share = (up_to / self.rows) ** draws
            total += length * (share - before)
            before = share
        return total

    def none_longer(self, limit: float, draws: int) -> float:
        """How likely none of so many rows is longer than ``limit``."""
        place = bisect.bisect_right(self.counts, limit, key=lambda count: count[0])
        return (self._up_to[place - 1] / self.rows) ** draws if place else 0.0

    def sum_of_longest(self, number: int) -> int:
        """Tokens of the longest rows, as if there were as many as are asked for."""
        total, left = 0, number
        for length, rows in reversed(self.counts):
            taken = min(rows, left)
            total, left = total + taken * length, left - taken
            if not left:
                return total
        return total + left * self.counts[0][0]

    def padded(self, pool: int, at_once: int) -> float:
        """What a row costs, on average, where ``pool`` rows drawn by chance are sorted by length
        and each ``at_once`` of them padded to their longest."""
        at_once = min(max(at_once, 1), pool)
        if at_once == 1:
            return self.mean
        first = at_once * self.largest_of(pool)
        places = range(pool - at_once, 0, -at_once)
        step = max(len(places) // MOST_PLACES, 1)
        tokens = rows = 0.0
        for place in places[step // 2 :: step]:
            size = min(at_once, place)
            tokens += size * self._place(place, pool)
            rows += size
        others = tokens / rows * (pool - at_once) if rows else 0.0
        return max((first + others) / pool, self.mean)

    def _place(self, place: int, pool: int) -> float:
        """The expected length at a place of the sorted pool. The share of all rows that lies below
        it has a beta distribution, looked at in three points (Gauss and Hermite's)."""
        share = place / (pool + 1)
        width = math.sqrt(3 * share * (1 - share) / (pool + 2))
        low, high = max(share - width, 0.0), min(share + width, 1.0)
        return (self.at(low) + 4 * self.at(share) + self.at(high)) / 6

    def packs(self, limit: int) -> int:
        """Packs of up to ``limit`` tokens, as `trainer.data.packing` makes them."""
        if limit not in self._packs:
            self._packs[limit] = best_fit(self.cut(limit), limit)
        return self._packs[limit]

    @functools.cached_property
    def _cuts(self) -> dict[int, Lengths]:
        return {}

    @functools.cached_property
    def _learned(self) -> dict[int, Lengths]:
        return {}

    @functools.cached_property
    def _packs(self) -> dict[int, int]:
        return {}


def _sorted(counts: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    return tuple(sorted((length, rows) for length, rows in counts if rows))


def best_fit(lengths: Lengths, limit: int) -> int:
    """Packs by best fit decreasing, rows of the same length together: the tightest pack with room
    takes as many of them as go into it, for with what is left it is the tightest again."""
    rooms: list[int] = []  # sorted, each once
    with_room: dict[int, int] = {}
    packs = 0

    def leave(room: int, number: int) -> None:
        if room and number:
            if room not in with_room:
                bisect.insort(rooms, room)
            with_room[room] = with_room.get(room, 0) + number

    for length, left in reversed(lengths.counts):
        while left:
            place = bisect.bisect_left(rooms, length)
            if place < len(rooms):
                room = rooms.pop(place)
                number = with_room.pop(room)
            else:
                room = limit
                number = -(-left // (limit // length))
                packs += number
            each = room // length
            full = min(number, left // each)
            left -= full * each
            leave(room - each * length, full)
            if full < number:  # the rows are at their end
                leave(room - left * length, 1)
                leave(room, number - full - 1)
                left = 0
    return packs
