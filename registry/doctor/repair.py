"""A repaired copy: the same rows as JSON lines under our names, without those that are of no use.

Two passes: the first is a check, which says what is wrong and which rows are alike, the second
writes what is left. Where rows hang together (the same prompt, nearly the same text) a validation
split that is carved out takes all of them or none.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from registry.doctor import examine, mend, orders
from registry.doctor.examine import Checked
from registry.doctor.formats import format_of
from registry.doctor.readers import batches
from registry.doctor.rows import judge
from registry.files import BadPath


@dataclass(frozen=True, kw_only=True)
class Repair:
    """``target`` is an empty folder to be. ``validation_share`` of the rows to train on make a
    validation split where there is none, chosen by ``seed``."""

    target: str
    drop_duplicates: bool = True
    drop_near_duplicates: bool = False
    drop_leaked: bool = True
    mend_text: bool = True
    redact_personal: bool = False
    validation_share: float = 0.0
    seed: int = 0


class Repaired(TypedDict):
    """``counts`` are rows by what became of them; ``outcome`` is the check of the copy."""

    counts: dict[str, int]
    outcome: orders.Outcome


def carry_out(order: orders.Order, news: orders.News) -> Repaired:
    """Raises BadPath, also where nothing would be left."""
    repair = Repair(**(order.repair or {}))
    path, target = Path(order.path), Path(repair.target)
    checked = examine.check_whole(
        path,
        columns=order.columns,
        processes=order.processes,
        progress=news,
        mends=repair.mend_text,
    )
    counts: Counter[str] = Counter()
    keeps = _kept(checked, repair, counts)
    held_out = _carved(checked, repair, keeps)
    _write(checked, repair, keeps, held_out, target, counts)
    if not counts["kept"]:
        raise BadPath("Not one usable row would be left.")
    copy = orders.Order(path=str(target), hashes=True, index=order.index, processes=order.processes)
    return {"counts": dict(counts), "outcome": orders.carry_out(copy, news)}


def _kept(checked: Checked, repair: Repair, counts: Counter[str]) -> npt.NDArray[np.bool_]:
    """Which of the usable rows are written."""
    twins, numbers = checked.twins, np.arange(len(checked.keys))
    splits = np.array([split for split, _ in checked.files] or [""])
    split_of = splits[checked.places >> 40]
    keeps = np.ones(len(numbers), np.bool_)
    for firsts, drops, word in (
        (twins.same, repair.drop_duplicates, "duplicates"),
        (twins.near, repair.drop_near_duplicates, "near_duplicates"),
    ):
        is_later = (firsts != numbers) & keeps
        crosses = split_of != split_of[firsts]
        for gone, name, wanted in (
            (is_later & ~crosses, word, drops),
            (is_later & crosses, f"leaked_{word}", repair.drop_leaked),
        ):
            if wanted and (name != "leaked_near_duplicates" or repair.drop_near_duplicates):
                keeps &= ~gone
                counts[f"dropped_{name}"] += int(gone.sum())
    return keeps


def _carved(
    checked: Checked, repair: Repair, keeps: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """Which rows of the train split are to be held out: whole groups, each by its own chance."""
    none = np.zeros(len(keeps), np.bool_)
    splits = {split for split, _ in checked.files}
    if not repair.validation_share or splits != {"train"} or keeps.sum() < 2:
        return none
    groups = together(checked.twins.groups(), checked.asked)
    roots, group_of = np.unique(groups, return_inverse=True)
    if len(roots) < 2:
        return none
    # By what is in the group, not by where it stands.
    lowest = np.full(len(roots), np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(lowest, group_of, checked.keys)
    chances = np.array([_chance(key, repair.seed) for key in lowest.tolist()])
    held = chances < repair.validation_share
    if not held.any():
        held[chances.argmin()] = True
    if held.all():
        held[chances.argmax()] = False
    return np.asarray(held[group_of])


def together(groups: npt.NDArray[np.int64], asked: npt.NDArray[np.uint64]) -> Any:
    """The groups, joined wherever rows of two of them ask the same."""
    _, same_question = np.unique(asked, return_inverse=True)
    while True:
        lowest = np.full(len(groups), len(groups))
        np.minimum.at(lowest, same_question, groups)
        joined = lowest[same_question]
        roots = np.arange(len(groups))
        np.minimum.at(roots, groups, joined)
        joined = np.minimum(joined, roots[groups])
        if np.array_equal(joined, groups):
            return groups
        groups = joined


def _chance(key: int, seed: int) -> float:
    """The same for the same row, wherever it stands."""
    words = f"{seed}:{key}".encode()
    return int.from_bytes(hashlib.blake2b(words, digest_size=8).digest(), "little") / 2**64


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
        for split, row, is_usable in _rows(checked, repair):
            if is_usable and number < len(keeps):
                keep, held = keeps[number], held_out[number]
            else:  # mended just now, or beyond what was compared
                keep, held = True, False
            number += is_usable
            if row is None:
                counts["dropped_bad"] += 1
                continue
            if not keep:
                continue
            counts["mended"] += not is_usable
            counts["kept"] += 1
            counts["moved_to_validation"] += bool(held)
            written, is_changed = mend.row(
                row, mends=repair.mend_text, redacts=repair.redact_personal
            )
            counts["texts_changed"] += is_changed
            place = "validation" if held else split
            if place not in files:
                path = target / f"{place}.jsonl"
                files[place] = stack.enter_context(open(path, "w", encoding="utf-8"))
            files[place].write(json.dumps(written, ensure_ascii=False, default=str) + "\n")
        for file in files.values():
            file.flush()
            os.fsync(file.fileno())


def _rows(checked: Checked, repair: Repair) -> Iterator[tuple[str, dict[str, Any] | None, bool]]:
    """Every row that was read, as the trainer will have it; None where nothing can be made of it.
    The last says whether it was usable before: those are numbered by the check."""
    layout, kind = checked.report.layout, checked.report.row_format
    for split, path in checked.files:
        is_table = format_of(path.name) == "table"
        for batch in batches(path, mends=repair.mend_text):
            for read in batch.read():
                row = None if read.problem else layout.row(read.row, is_table=is_table)
                usable = row is not None and _is_usable(row, kind)
                if row is not None and not usable:
                    row = mend.structure(row)
                    row = row if _is_usable(row, kind) else None
                yield split, row, usable


def _is_usable(row: dict[str, Any], kind: str) -> bool:
    try:
        judged = judge(row)
    except RecursionError:
        return False
    return judged.is_usable and judged.kind == kind


def options(**given: Any) -> dict[str, Any]:
    return asdict(Repair(**given))
