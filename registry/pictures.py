"""Histograms and shares as numbers that a template can draw."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

BINS_AN_OCTAVE = 4
WIDTH, HEIGHT = 100.0, 40.0


@dataclass(frozen=True)
class Bar:
    """Rows of a length from ``low`` to ``high``; the rest says where to draw it."""

    low: int
    high: int
    rows: int
    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True)
class Histogram:
    bars: list[Bar]
    rows: int
    most: int
    marks: list[tuple[int, float]]

    @property
    def shortest(self) -> int:
        return self.bars[0].low

    @property
    def longest(self) -> int:
        return self.bars[-1].high


def together(lengths: Mapping[str, Iterable[Any]]) -> list[tuple[int, int]]:
    """The [length, rows] of all splits."""
    found: Counter[int] = Counter()
    for rows in lengths.values():
        for length, count in rows:
            found[int(length)] += int(count)
    return sorted(found.items())


def histogram(counts: Iterable[tuple[int, int]]) -> Histogram | None:
    """Bars of equal width, four to each doubling: rows of a dataset differ by powers. None where
    there is nothing to draw."""
    bins: Counter[int] = Counter()
    for length, rows in counts:
        if length > 0:
            bins[_bin(length)] += rows
    if not bins:
        return None
    first, last = min(bins), max(bins)
    most, width = max(bins.values()), WIDTH / (last - first + 1)
    bars = [
        Bar(
            low=_start(number),
            high=max(_start(number + 1) - 1, _start(number)),
            rows=bins[number],
            left=round((number - first) * width, 3),
            top=round(HEIGHT - _height(bins[number], most), 3),
            width=round(width * 0.88, 3),
            height=round(_height(bins[number], most), 3),
        )
        for number in range(first, last + 1)
    ]
    step = max((last - first) // 5, 1)
    marks = [
        (_start(number), round((number - first) * width, 3))
        for number in range(first, last + 1, step)
    ]
    return Histogram(bars, bins.total(), most, marks)


def _bin(length: int) -> int:
    return math.floor(math.log2(length) * BINS_AN_OCTAVE + 1e-9)


def _start(number: int) -> int:
    return math.ceil(2 ** (number / BINS_AN_OCTAVE) - 1e-9)


def _height(rows: int, most: int) -> float:
    """What is there can be seen, however little it is."""
    return max(HEIGHT * rows / most, 0.6) if rows else 0.0


def shares(counts: Mapping[str, int], most: int = 12) -> list[dict[str, Any]]:
    total = sum(counts.values())
    return [
        {"name": name, "rows": rows, "share": rows / total, "percent": round(100 * rows / total, 1)}
        for name, rows in list(counts.items())[:most]
    ]


def beside(old: dict[str, Any], new: dict[str, Any]) -> list[dict[str, Any]]:
    """What two checks have counted, one line for each number."""
    lines = [("Rows", "rows_read"), ("Mean characters", "mean_characters")]
    lines += [("Most characters", "max_characters"), ("Bytes", "size_bytes")]
    found = [{"what": what, "old": old.get(name), "new": new.get(name)} for what, name in lines]
    splits = dict.fromkeys([*old.get("splits", []), *new.get("splits", [])])
    for split in splits:
        pair = [facts.get("rows", {}).get(split) for facts in (old, new)]
        found.append({"what": f"Usable rows of {split}", "old": pair[0], "new": pair[1]})
    for code in dict.fromkeys([*old.get("duplicates", {}), *new.get("duplicates", {})]):
        if not code.startswith("compared"):
            pair = [facts.get("duplicates", {}).get(code, 0) for facts in (old, new)]
            found.append(
                {"what": code.replace("_", " ").capitalize(), "old": pair[0], "new": pair[1]}
            )
    return found
