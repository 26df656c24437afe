"""How many rows have how many characters: a histogram that does not grow with the dataset."""

from __future__ import annotations

from dataclasses import dataclass, field

# Up to 15 characters each length has its own place, above each power of two has eight.
EXACT_BITS = 4


@dataclass
class Lengths:
    """Of one split. ``places`` are [rows, characters] of the rows whose length is of one place."""

    places: dict[int, list[int]] = field(default_factory=dict)

    def add(self, characters: int) -> None:
        place = self.places.setdefault(place_of(characters), [0, 0])
        place[0] += 1
        place[1] += characters

    def merge(self, other: Lengths) -> None:
        for place, (rows, characters) in other.places.items():
            mine = self.places.setdefault(place, [0, 0])
            mine[0] += rows
            mine[1] += characters

    def as_list(self) -> list[list[int]]:
        """[characters, rows], the shortest first: in each place what its rows have on average."""
        return [
            [round(characters / rows), rows]
            for _, (rows, characters) in sorted(self.places.items())
        ]


def place_of(characters: int) -> int:
    """At most 200 of them, for a row of any length that is read."""
    shift = max(characters.bit_length() - EXACT_BITS, 0)
    return (shift << EXACT_BITS) | (characters >> shift)
