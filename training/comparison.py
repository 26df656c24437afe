"""Predicted against measured: the numbers behind the picture and the table of the admin.

Pure: from rows to places in a drawing. Both axes are logarithmic and alike, so that a run that was
predicted well lies on the diagonal, whatever its size.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

SIDE = 300.0  # of the drawing, inside its margins
MARGIN = 48.0
# Told apart on white and on black, and by people who see few colours; the rest are grey.
COLORS = ("#3b82f6", "#f97316", "#16a34a", "#a855f7", "#0d9488", "#db2777")
OTHERS = "#8a8f98"
NEAR = 1.1  # the lines beside the diagonal: ten percent


@dataclass(frozen=True)
class Pair:
    """One run. ``kind`` is what it is coloured by, ``label`` what a pointer shows."""

    kind: str
    label: str
    predicted: float
    measured: float

    @property
    def error(self) -> float:
        """In percent of what was measured."""
        return 100 * (self.predicted / self.measured - 1)


@dataclass(frozen=True)
class Dot:
    x: float
    y: float
    color: str
    label: str


@dataclass(frozen=True)
class Tick:
    place: float
    words: str


@dataclass(frozen=True)
class Plot:
    """``lines`` are the diagonal and the ten percent beside it, as (x1, y1, x2, y2)."""

    title: str
    words: str
    dots: tuple[Dot, ...]
    ticks: tuple[Tick, ...]
    lines: tuple[tuple[float, float, float, float], ...]
    legend: tuple[tuple[str, str], ...]
    side: float = SIDE
    margin: float = MARGIN

    @property
    def size(self) -> float:
        return self.side + 2 * self.margin


@dataclass(frozen=True)
class Row:
    """A kind in the table: median errors in percent, None where nothing was measured."""

    kind: str
    runs: int
    memory: float | None
    time: float | None


def plot(title: str, unit: str, pairs: Iterable[Pair]) -> Plot | None:
    """None where there is nothing to show."""
    found = [pair for pair in pairs if pair.predicted > 0 and pair.measured > 0]
    if not found:
        return None
    numbers = [number for pair in found for number in (pair.predicted, pair.measured)]
    low, high = math.log10(min(numbers)) - 0.1, math.log10(max(numbers)) + 0.1
    by_kind = _by_frequency(pair.kind for pair in found)
    colors = dict(zip(by_kind, COLORS, strict=False))

    def place(number: float) -> float:
        return round(SIDE * (math.log10(number) - low) / (high - low), 2)

    off = round(SIDE * math.log10(NEAR) / (high - low), 2)
    near = sum(abs(pair.error) <= 100 * (NEAR - 1) for pair in found)
    typical = median(abs(pair.error) for pair in found)
    return Plot(
        title=title,
        words=f"{title}: of {len(found)} run{'s' if len(found) > 1 else ''} {near} within 10 %, "
        f"median error {typical:.1f} %.",
        dots=tuple(
            Dot(
                x=place(pair.measured),
                y=SIDE - place(pair.predicted),
                color=colors.get(pair.kind, OTHERS),
                label=f"{pair.label}: said {_short(pair.predicted)} {unit}, "
                f"was {_short(pair.measured)} {unit} ({pair.error:+.0f} %)",
            )
            for pair in found
        ),
        ticks=tuple(Tick(place(number), _short(number)) for number in _round(low, high)),
        lines=(
            (0, SIDE, SIDE, 0),
            (0, SIDE - off, SIDE - off, 0),
            (off, SIDE, SIDE, off),
        ),
        legend=tuple(
            [(color, kind) for kind, color in colors.items()]
            + ([(OTHERS, "others")] if len(by_kind) > len(COLORS) else [])
        ),
    )


def table(memory: Iterable[Pair], time: Iterable[Pair]) -> list[Row]:
    """The kinds with most runs first."""
    errors: dict[str, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    for which, pairs in enumerate((memory, time)):
        for pair in pairs:
            errors[pair.kind][which].append(abs(pair.error))
    rows = [
        Row(kind, max(map(len, both)), *(median(one) if one else None for one in both))
        for kind, both in errors.items()
    ]
    return sorted(rows, key=lambda row: (-row.runs, row.kind))


def _by_frequency(kinds: Iterable[str]) -> list[str]:
    counts: dict[str, int] = defaultdict(int)
    for kind in kinds:
        counts[kind] += 1
    return sorted(counts, key=lambda kind: (-counts[kind], kind))


def _round(low: float, high: float) -> Sequence[float]:
    """1, 2, 5, 10, ... between two powers of ten; of many decades the powers alone."""
    steps = (1,) if high - low > 2.5 else (1, 2, 5)
    decades = range(math.floor(low), math.ceil(high) + 1)
    numbers = [step * 10.0**decade for decade in decades for step in steps]
    return [number for number in numbers if low <= math.log10(number) <= high]


def _short(number: float) -> str:
    """Three digits, as a person would write them."""
    if number >= 1000:
        return f"{round(number, 2 - math.floor(math.log10(number))):,.0f}"
    return f"{number:.3g}"
