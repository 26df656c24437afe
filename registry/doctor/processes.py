"""Work that is shared among processes, and comes back in its order."""

from __future__ import annotations

import collections
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from typing import TypeVar

About = TypeVar("About")
Job = TypeVar("Job")
Done = TypeVar("Done")

AHEAD = 2  # for each process


def in_order(
    function: Callable[[Job], Done], jobs: Iterable[tuple[About, Job]], processes: int
) -> Iterator[tuple[About, Done]]:
    """``function`` of each job, with what the job is about: here where there is one process, else
    in others, no further ahead than is needed to keep them busy."""
    if processes < 2:
        for about, job in jobs:
            yield about, function(job)
        return
    # Never a fork: Arrow has threads of its own.
    context = multiprocessing.get_context("spawn")
    waiting: collections.deque[tuple[About, Future[Done]]] = collections.deque()
    pool = ProcessPoolExecutor(processes, context, initializer=_end_with_parent)
    try:
        for about, job in jobs:
            waiting.append((about, pool.submit(function, job)))
            if len(waiting) >= AHEAD * processes:
                first, done = waiting.popleft()
                yield first, done.result()
        while waiting:
            first, done = waiting.popleft()
            yield first, done.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """However that one ends: a killed process tells nobody."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
