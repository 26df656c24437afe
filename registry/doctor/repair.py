"""A repaired copy: the same rows as JSON lines under our names, without those that are of no use.

Two passes: the first is a check of the rows as they are after mending, which says which of them
are alike, the second writes what is left. Where rows hang together (the same prompt, nearly the
same text) a validation split that is carved out takes all of them or none.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from registry.doctor import examine, image_repair, orders
from registry.doctor.examine import Checked
from registry.doctor.formats import format_of
from registry.doctor.keeping import Repair, Repaired, carved, kept
from registry.doctor.mend import Mended, Mending
from registry.doctor.readers import batches
from registry.files import BadPath


def carry_out(order: orders.Order, news: orders.News) -> Repaired:
    """Raises BadPath, also where nothing would be left."""
    repair = Repair(**(order.repair or {}))
    path, target = Path(order.path), Path(repair.target)
    if order.modality == "image":
        return image_repair.carry_out(order, repair, news)
    checked = examine.check_whole(
        path,
        columns=order.columns,
        processes=order.processes,
        progress=news,
        mending=_mending(repair),
    )
    counts: Counter[str] = Counter()
    keeps = kept(checked, repair, counts)
    held_out = carved(checked, repair, keeps)
    _write(checked, repair, keeps, held_out, target, counts)
    if not counts["kept"]:
        raise BadPath("Not one usable row would be left.")
    copy = orders.Order(path=str(target), hashes=True, index=order.index, processes=order.processes)
    return {"counts": dict(counts), "outcome": orders.carry_out(copy, news)}


# --- Writing -------------------------------------------------------------------------------------


def _write(
    checked: Checked,
    repair: Repair,
    keeps: npt.NDArray[np.bool_],
    held_out: npt.NDArray[np.bool_],
    target: Path,
    counts: Counter[str],
) -> None:
    target.mkdir(parents=True)
    number = 0
    with ExitStack() as stack:
        files: dict[str, Any] = {}
        for split, mended in _rows(checked, repair):
            if mended is None:
                counts["dropped_bad"] += 1
                continue
            is_compared = number < len(keeps)
            keep, held = (keeps[number], held_out[number]) if is_compared else (True, False)
            number += 1
            if not keep:
                continue
            counts["mended"] += not mended.was_usable
            counts["kept"] += 1
            counts["moved_to_validation"] += bool(held)
            counts["texts_changed"] += mended.is_changed
            place = "validation" if held else split
            if place not in files:
                path = target / f"{place}.jsonl"
                files[place] = stack.enter_context(open(path, "wb"))
            files[place].write(_line_of(mended.row))
        for file in files.values():
            file.flush()
            os.fsync(file.fileno())


def _line_of(row: dict[str, Any]) -> bytes:
    text = json.dumps(row, ensure_ascii=False, default=str)
    try:
        return text.encode() + b"\n"
    except UnicodeEncodeError:  # half of a pair of surrogates, which only an escape can say
        return json.dumps(row, default=str).encode() + b"\n"


def _mending(repair: Repair) -> Mending:
    return Mending(mends=repair.mend_text, redacts=repair.redact_personal)


def _rows(checked: Checked, repair: Repair) -> Iterator[tuple[str, Mended | None]]:
    """Every row that was read, as the trainer will have it; None where nothing can be made of it.
    The others are numbered by the check."""
    layout, kind, mending = checked.report.layout, checked.report.row_format, _mending(repair)
    for split, path in checked.files:
        is_table = format_of(path.name) == "table"
        for batch in batches(path, mends=repair.mend_text):
            for read in batch.read():
                if read.problem:
                    yield split, None
                    continue
                mended = mending.of(layout.row(read.row, is_table=is_table), kind)
                yield split, mended if mended.is_usable else None
