"""Pages of long lists, remembered until a table that they come from has changed.

Counting and ordering a hundred thousand rows takes longer than everything else about a page of
fifty, and it gives the same total and the same ids each time until somebody changes something. Only
these are remembered; the rows themselves are always read.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

from django.db import connections

MOST_PAGES = 2000  # of some 50 ids each: a few megabytes for each process

_pages: OrderedDict[Hashable, tuple[int, list[Any]]] = OrderedDict()
_lock = threading.Lock()


def page(
    queryset: Any, begin: int, end: int, *, asked: Hashable, state_now: Callable[[], Hashable]
) -> tuple[int, Any]:
    """The total, and the rows of ``queryset[begin:end]``.

    ``asked`` is what the queryset follows from, ``state_now`` tells the state of what may change
    its answer (see `accounts.changes`; None: nobody knows, so nothing is remembered). A transaction
    may still be rolled back, and its state given to another one: in it nothing is remembered.
    """
    state = None if connections[queryset.db].in_atomic_block else state_now()
    if state is None:
        return queryset.count(), rows_of(queryset, queryset.values("pk")[begin:end])
    key = (queryset.db, begin, end, asked, state)
    with _lock:
        known = _pages.get(key)
        if known:
            _pages.move_to_end(key)
    if not known:
        ids = list(queryset.values_list("pk", flat=True)[begin:end])
        whole = begin == 0 and len(ids) < end
        known = (len(ids) if whole else queryset.count(), ids)
        with _lock:
            _pages[key] = known
            while len(_pages) > MOST_PAGES:
                _pages.popitem(last=False)
    total, ids = known
    return total, rows_of(queryset, ids)


def rows_of(queryset: Any, ids: Any) -> Any:
    """The rows with these ids, in the order of the queryset. The database chooses the ids by an
    index alone and reads only these rows: otherwise it reads every wide row it skips or sorts."""
    rows = queryset.all()
    rows.query.clear_where()
    return rows.filter(pk__in=ids)
