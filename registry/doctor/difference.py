"""What one version of a dataset has that another has not, from what is kept of their rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from api.plain import plain_json
from registry.doctor.formats import format_of
from registry.doctor.index import Index
from registry.doctor.layouts import Layout
from registry.doctor.readers import batches

MOST_SHOWN = 10
# Rows are read again to be shown, from the beginning of a file, and not for ever.
MOST_READ = 50_000


@dataclass
class Difference:
    """Rows: ``changed`` ones ask what the other version asks too, but have another answer."""

    added: int
    removed: int
    changed: int
    same: int
    added_places: list[int] = field(default_factory=list)
    removed_places: list[int] = field(default_factory=list)


def between(old: Index, new: Index) -> Difference:
    """Rows are counted as often as they are there."""
    gone = _only_in(old.keys, new.keys)
    come = _only_in(new.keys, old.keys)
    has_questions = not np.array_equal(new.asked, new.keys)
    changed = 0
    if has_questions:
        before, after = np.sort(old.asked[gone]), np.sort(new.asked[come])
        changed = len(before) - int(_surplus(before, after).sum())
    return Difference(
        added=len(come) - changed,
        removed=len(gone) - changed,
        changed=changed,
        same=len(new.keys) - len(come),
        added_places=new.places[come[:MOST_SHOWN]].tolist(),
        removed_places=old.places[gone[:MOST_SHOWN]].tolist(),
    )


def _only_in(these: npt.NDArray[np.uint64], others: npt.NDArray[np.uint64]) -> Any:
    """Numbers of the rows that the others have fewer of, in their order."""
    order = np.argsort(these, kind="stable")
    return np.sort(order[_surplus(these[order], np.sort(others))])


def _surplus(ordered: Any, others: Any) -> npt.NDArray[np.bool_]:
    """Of sorted keys, those beyond as many of the same as there are among the others."""
    nth = np.arange(len(ordered)) - np.searchsorted(ordered, ordered, side="left")
    left = np.searchsorted(others, ordered, side="left")
    right = np.searchsorted(others, ordered, side="right")
    return np.asarray(nth >= right - left)


def rows_at(
    root: Path, index: Index, places: list[int], layout: Layout
) -> list[tuple[str, dict[str, Any]]]:
    """("train.jsonl, line 3", row) of those that stand near enough to the beginning of a file."""
    found = {}
    for number in sorted({place >> 40 for place in places}):
        lines = {place & (1 << 40) - 1 for place in places if place >> 40 == number}
        name = index.files[number]
        if lines == {0}:  # an image is its file
            found[number << 40] = (name, {"image": name})
            continue
        file = root if root.is_file() else root / name
        for line, row in _rows_of(file, lines):
            shown = layout.row(row, is_table=format_of(name) == "table")
            found[number << 40 | line] = (f"{name}, line {line}", shown)
    return [found[place] for place in places if place in found]


def _rows_of(file: Path, lines: set[int]) -> Iterator[tuple[int, dict[str, Any]]]:
    left = set(lines)
    read = 0
    try:
        for batch in batches(file):
            for one in batch.read():
                read += 1
                if one.line in left and one.problem is None:
                    left.discard(one.line)
                    try:
                        yield one.line, plain_json(one.row)
                    except (ValueError, RecursionError):
                        continue
            if not left or read > MOST_READ:
                return
    except OSError:
        return
