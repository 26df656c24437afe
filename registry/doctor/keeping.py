"""Which rows or images a repaired copy keeps, and which of them it holds out.

Where some hang together (the same prompt, nearly the same text or picture) a validation split that
is carved out takes all of them or none.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from registry.doctor import orders
from registry.doctor.examine import Checked
from registry.doctor.twins import first_alike, join


@dataclass(frozen=True, kw_only=True)
class Repair:
    """``target`` is an empty folder to be. ``validation_share`` of the rows to train on make a
    validation split where there is none, chosen by ``seed``. ``links``: nobody writes into the
    files that there are, so a copy may share them."""

    target: str
    drop_duplicates: bool = True
    drop_near_duplicates: bool = False
    drop_leaked: bool = True
    mend_text: bool = True
    redact_personal: bool = False
    validation_share: float = 0.0
    seed: int = 0
    links: bool = False


class Repaired(TypedDict):
    """``counts`` are rows by what became of them; ``outcome`` is the check of the copy."""

    counts: dict[str, int]
    outcome: orders.Outcome


def kept(checked: Checked, repair: Repair, counts: Counter[str]) -> npt.NDArray[np.bool_]:
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


def carved(checked: Checked, repair: Repair, keeps: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Which rows of the train split are to be held out: whole groups, each by its own chance."""
    if not _can_carve(checked, repair, keeps):
        return np.zeros(len(keeps), np.bool_)
    group_of, chances = _groups(checked, repair)
    held = chances < repair.validation_share
    if len(held) > 1 and not held.any():
        held[chances.argmin()] = True
    if held.all():
        held[chances.argmax()] = False
    return np.asarray(held[group_of])


def carved_by_label(
    checked: Checked, repair: Repair, keeps: npt.NDArray[np.bool_], labels: list[str]
) -> npt.NDArray[np.bool_]:
    """The same, but so that each label gives its share, and keeps something to learn from."""
    if not _can_carve(checked, repair, keeps):
        return np.zeros(len(keeps), np.bool_)
    group_of, chances = _groups(checked, repair)
    sizes = np.bincount(group_of[keeps], minlength=len(chances))
    label_of = np.array(labels)[np.unique(group_of, return_index=True)[1]]
    held = np.zeros(len(chances), np.bool_)
    for label in np.unique(label_of):
        ours = np.flatnonzero((label_of == label) & (sizes > 0))
        ours = ours[np.argsort(chances[ours], kind="stable")]
        before = np.cumsum(sizes[ours]) - sizes[ours]
        wanted = before < repair.validation_share * sizes[ours].sum()
        held[ours[:-1][wanted[:-1]]] = True
    return np.asarray(held[group_of])


def _can_carve(checked: Checked, repair: Repair, keeps: npt.NDArray[np.bool_]) -> bool:
    splits = {split for split, _ in checked.files}
    return bool(repair.validation_share) and splits == {"train"} and bool(keeps.sum() > 1)


def _groups(
    checked: Checked, repair: Repair
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Of each row the number of its group, and of each group its chance: by what is in it, not by
    where it stands."""
    groups = checked.twins.groups.copy()
    join(groups, np.arange(len(groups)), first_alike(checked.asked))
    roots, group_of = np.unique(groups, return_inverse=True)
    lowest = np.full(len(roots), np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(lowest, group_of, checked.keys)
    return group_of, np.array([_chance(key, repair.seed) for key in lowest.tolist()])


def _chance(key: int, seed: int) -> float:
    """The same for the same row, wherever it stands."""
    words = f"{seed}:{key}".encode()
    return int.from_bytes(hashlib.blake2b(words, digest_size=8).digest(), "little") / 2**64
