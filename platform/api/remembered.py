"""Pages of long lists, remembered until a table that they come from has changed.

Counting and ordering a hundred thousand rows takes longer than everything else about a page of
fifty, and reading and writing the fifty longer than the rest of the request. All of it comes to the
same each time until somebody changes something, and the database counts the changes.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import orjson
from django.db import connections

MOST_BYTES = 32 * 2**20  # in each process
_ID_BYTES = 150  # of a UUID in a list, and its share of the page
_VALUE_BYTES = 4096  # of some numbers or names


class Memory:
    """What was used last, up to so many bytes."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.most_bytes = most_bytes
        self._kept: OrderedDict[Hashable, tuple[int, Any]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Any:
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            return self._kept[key][1]

    def keep(self, key: Hashable, value: Any, size: int) -> None:
        if size > self.most_bytes:
            return
        with self._lock:
            self._bytes += size - self._kept.pop(key, (0, None))[0]
            self._kept[key] = (size, value)
            while self._bytes > self.most_bytes:
                self._bytes -= self._kept.popitem(last=False)[1][0]


_memory = Memory()


def page(
    queryset: Any,
    begin: int,
    end: int,
    *,
    asked: Hashable,
    state_now: Callable[[], Hashable],
    as_json: Callable[[Any], bytes] | None,
) -> tuple[int, Any]:
    """The total, and the rows of ``queryset[begin:end]``: written ``as_json``, where the list can
    be, and otherwise a queryset (then only their ids are remembered).

    ``asked`` is what the answer follows from, ``state_now`` tells the state of what may change it
    (see `accounts.changes`; None: nobody knows, so nothing is remembered). A transaction may still
    be rolled back, and its state given to another one: in it nothing is remembered.
    """
    state = None if connections[queryset.db].in_atomic_block else state_now()
    if state is None:
        rows = rows_of(queryset, queryset.values("pk")[begin:end])
        return queryset.count(), orjson.Fragment(as_json(rows)) if as_json else rows
    key = (queryset.db, begin, end, asked, state)
    known = _memory.get(key)
    if not known:
        ids = list(queryset.values_list("pk", flat=True)[begin:end])
        whole = begin == 0 and len(ids) < end
        total = len(ids) if whole else queryset.count()
        written = as_json(rows_of(queryset, ids)) if as_json else None
        known = total, ids, written
        _memory.keep(key, known, len(ids) * _ID_BYTES + len(written or b""))
    total, ids, written = known
    return total, rows_of(queryset, ids) if written is None else orjson.Fragment(written)


def value(
    work: Callable[[], Any],
    *,
    asked: Hashable,
    state_now: Callable[[], Hashable],
    using: str = "default",
    bytes_of: Callable[[Any], int] = lambda _: _VALUE_BYTES,
) -> Any:
    """What ``work`` comes to, which nobody may change; ``asked`` and ``state_now`` as of `page`.
    ``bytes_of`` says, roughly, what it takes where it is more than some numbers or names."""
    state = None if connections[using].in_atomic_block else state_now()
    if state is None:
        return work()
    key = (using, asked, state)
    known = _memory.get(key)
    if known is None:
        known = work()
        _memory.keep(key, known, bytes_of(known))
    return known


def rows_of(queryset: Any, ids: Any) -> Any:
    """The rows with these ids, in the order of the queryset. The database chooses the ids by an
    index alone and reads only these rows: otherwise it reads every wide row it skips or sorts."""
    rows = queryset.all()
    rows.query.clear_where()
    return rows.filter(pk__in=ids)
