"""Of rows or images: which are the same, which nearly so, and which hang together by that."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]


class Alike(NamedTuple):
    """Of each, an earlier one that is ``near``ly the same (its own number where there is none),
    and the ``first`` of those that it hangs together with, directly or by others: one that is near
    two others holds them together, however different those are."""

    near: Numbers
    first: Numbers


class Twins(NamedTuple):
    """Of each, the number of the first that is the same, of an earlier one that is nearly so (its
    own where there is none), and the same number for all that hang together."""

    same: Numbers
    near: Numbers
    groups: Numbers
    sketched: int  # so many of the first were looked at for near ones


def twins_of(same: Numbers, heads: Numbers, alike: Alike, sketched: int) -> Twins:
    """``alike`` is of the ``heads`` alone: the first ones of those that are the same."""
    near, first = np.arange(len(same)), np.arange(len(same))
    near[heads], first[heads] = heads[alike.near], heads[alike.first]
    return Twins(same, near, first[same], sketched)


def first_alike(keys: npt.NDArray[np.uint64]) -> Numbers:
    """Of each key, where the same one stands first."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    begins = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(keys) else order
    found = np.empty(len(keys), np.int64)
    found[order] = np.repeat(order[begins], np.diff(np.r_[begins, len(keys)]))
    return found


def join(first: Numbers, one: Any, other: Any) -> None:
    """Each of ``one`` hangs together with its ``other`` from now on. ``first`` is changed: of each,
    the first of those that it hangs together with."""
    while True:
        these, those = first[one], first[other]
        if np.array_equal(these, those):
            return
        np.minimum.at(first, np.maximum(these, those), np.minimum(these, those))
        while not np.array_equal(further := first[first], first):
            first[:] = further
