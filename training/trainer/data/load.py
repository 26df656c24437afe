"""From files to rows of tokens: by one process or several, in memory or kept on disk.

Rows that are few are made anew each time: that costs less than to keep them.
"""

from __future__ import annotations

import collections
import itertools
import logging
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import tokenizers
import transformers

from training.trainer.data.cache import Kept, Tally, TokenCache, hash_of, tokenizer_files
from training.trainer.data.examples import Examples
from training.trainer.data.files import RowFiles
from training.trainer.data.read import Source, of_kinds, read_sources
from training.trainer.data.rows import Flat, Rows
from training.trainer.data.tokens import ROWS_AT_ONCE, Row, tokenize
from training.trainer.spec import METHODS, RunSpec
from training.trainer.stopping import PARENT_PID_VARIABLE, die_with_parent

VERSION = 2  # to be raised when the same rows become other tokens
KEEP_FROM_BYTES = 100_000
# A further process has to import Transformers first, which takes as long as some ten megabytes.
SHARE_FROM_BYTES = 16_000_000
CHUNKS_AHEAD = 4  # for each process

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Chunk(NamedTuple):
    """What some rows of a file have become. ``labels`` are what those of ``rows`` stand for, each
    with the row where it stood first."""

    rows: Flat
    truncated: int = 0
    dropped: int = 0
    labels: Sequence[tuple[str | int, str]] = ()


class Cutter(Protocol[T]):
    """Makes tokens of what was read from the files, in whatever process."""

    @property
    def tokenizer(self) -> Any: ...
    @property
    def settings(self) -> list[Any]:
        """All but the tokenizer that its rows follow from, as plain values."""
        ...

    def __call__(self, read: list[T]) -> Chunk: ...


@dataclass(frozen=True)
class RowCutter:
    """Tokenizes rows and cuts them to ``max_length`` tokens; None leaves them whole."""

    tokenizer: Any
    completion_only_loss: bool
    max_length: int | None

    @property
    def settings(self) -> list[Any]:
        return ["rows", self.completion_only_loss, self.max_length]

    def __call__(self, read: list[Source]) -> Chunk:
        kept: list[Row] = []
        truncated = dropped = 0
        for row in tokenize(read, self.tokenizer, completion_only_loss=self.completion_only_loss):
            cut = row.cut(self.max_length)
            if self.max_length is not None and cut.weight == 0:
                dropped += 1
                continue
            truncated += cut.length < row.length
            kept.append(cut)
        return Chunk(Flat.of(kept), truncated, dropped)


def load_rows(files: RowFiles, tokenizer: Any, spec: RunSpec) -> Examples[Row]:
    """Read, tokenize and cut to ``max_length`` tokens. Raises BadData, DiskFull."""
    cutter = RowCutter(tokenizer, spec.train.completion_only_loss, spec.train.max_length)
    found = load(_sources(files, spec), files, cutter, spec)
    return Examples(found.rows, found.tally.truncated, found.tally.dropped)


def load_blocks(files: RowFiles, tokenizer: Any, spec: RunSpec) -> Examples[Row]:
    """Every document in the order of the files, each with its end token (and the begin token, if
    this tokenizer uses one), and all of it in blocks of ``max_length`` tokens. The last block may
    be shorter. Every token carries loss, also the first ones of a document, which follow upon
    another: so were the base models trained. Raises BadData, DiskFull."""
    length = spec.train.max_length
    cutter = RowCutter(tokenizer, completion_only_loss=False, max_length=None)

    def in_blocks(chunks: Iterator[Chunk]) -> Iterator[Chunk]:
        rest = np.empty(0, np.int32)
        for chunk in chunks:
            ids = np.concatenate([rest, chunk.rows.ids])
            full = len(ids) // length * length
            yield Chunk(_blocks(ids[:full], length))
            rest = ids[full:]
        if len(rest) > 1:  # nothing predicts a first token
            yield Chunk(_blocks(rest, length))

    found = load(
        _sources(files, spec), files, cutter, spec, also=["blocks", length], then=in_blocks
    )
    return Examples(found.rows)


def _blocks(ids: Any, length: int) -> Flat:
    ends = [*range(length, len(ids), length), len(ids)] if len(ids) else []
    offsets = np.array([0, *ends], np.int64)
    return Flat(ids, np.ones(len(ids), np.bool_), offsets, np.zeros(len(ends), np.int32))


def _sources(files: RowFiles, spec: RunSpec) -> Iterator[Source]:
    return of_kinds(read_sources(files), METHODS[spec.method].rows, spec.method)


def load(
    read: Iterator[T],
    files: RowFiles,
    cutter: Cutter[T],
    spec: RunSpec,
    *,
    also: Sequence[Any] = (),
    then: Callable[[Iterator[Chunk]], Iterator[Chunk]] = iter,
) -> Kept:
    """What is ``read`` from the files as rows of tokens: in memory where they are few or there is
    no place to keep them. ``then`` is done with what the cutter makes, and follows from ``also``.
    Raises BadData, DiskFull."""

    def parts(tally: Tally) -> Iterator[Flat]:
        numbers: dict[str | int, int] = {}
        for chunk in then(_chunks(read, files, cutter, spec)):
            tally.truncated += chunk.truncated
            tally.dropped += chunk.dropped
            yield _numbered(chunk, numbers, tally) if chunk.labels else chunk.rows

    if not spec.cache_dir or files.size_bytes < KEEP_FROM_BYTES:
        tally = Tally()
        return Kept(Rows(parts(tally)), tally)
    cache = TokenCache(Path(spec.cache_dir), spec.cache_limit_gb * 1e9)
    key = _key(files, cutter, spec, also)
    return cache.get(key, parts, needs_bytes=files.size_bytes)


def _numbered(chunk: Chunk, numbers: dict[str | int, int], tally: Tally) -> Flat:
    """With the numbers that the labels have among those of all chunks so far."""
    for label, where in chunk.labels:
        if label not in numbers:
            numbers[label] = len(numbers)
            tally.labels.append((label, where))
    here = np.array([numbers[label] for label, _ in chunk.labels], np.int32)
    return chunk.rows._replace(labels=here[chunk.rows.labels])


def _key(files: RowFiles, cutter: Cutter[Any], spec: RunSpec, also: Sequence[Any]) -> str:
    """Of everything that the rows follow from. The contents of all files are looked at: that is
    a hundred times faster than to tokenize them, and a date or a size can deceive."""
    return hash_of(
        [VERSION, transformers.__version__, tokenizers.__version__],
        [METHODS[spec.method].rows, dict(files.columns), cutter.tokenizer.chat_template],
        [*cutter.settings, *also],
        *tokenizer_files(Path(spec.base_model.path)),
        "rows",
        *[word for path in files.paths for word in (Path(path).suffix, Path(path))],
    )


def _chunks(
    read: Iterator[T], files: RowFiles, cutter: Cutter[T], spec: RunSpec
) -> Iterator[Chunk]:
    """In the order of the files, however many processes are at work."""
    pieces = iter(lambda: list(itertools.islice(read, ROWS_AT_ONCE)), [])
    processes = spec.train.dataset_num_proc or spec.device.num_threads
    if processes == 1 or files.size_bytes < SHARE_FROM_BYTES:
        return map(cutter, pieces)
    return _shared(pieces, cutter, processes)


def _shared(pieces: Iterable[list[T]], cutter: Cutter[T], processes: int) -> Iterator[Chunk]:
    logger.info("Tokenizing with %d processes.", processes)
    pool = ProcessPoolExecutor(
        processes,
        # Never a fork: this process has threads of torch.
        multiprocessing.get_context("spawn"),
        initializer=_begin_work,
        initargs=(os.getpid(), cutter),
    )
    waiting: collections.deque[Future[Chunk]] = collections.deque()
    try:
        for piece in pieces:
            waiting.append(pool.submit(_work, piece))
            if len(waiting) >= CHUNKS_AHEAD * processes:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise MemoryError(
            "a process that tokenizes rows was ended from outside, most likely for want of memory"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


_cutter: Cutter[Any]


def _begin_work(parent: int, cutter: Cutter[Any]) -> None:
    """In a process of the pool, once. It needs no threads of its own, and must not outlive us."""
    global _cutter
    _cutter = cutter
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ[PARENT_PID_VARIABLE] = str(parent)
    die_with_parent()


def _work(read: list[Any]) -> Chunk:
    return _cutter(read)
