"""From files to rows of tokens: by one process or several, in memory or kept on disk.

Rows that are few are made anew each time: that costs less than to keep them.
"""

from __future__ import annotations

import collections
import itertools
import logging
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tokenizers
import transformers

from training.trainer.data.cache import Tally, TokenCache, hash_of, tokenizer_files
from training.trainer.data.examples import Examples
from training.trainer.data.files import RowFiles
from training.trainer.data.read import Source, of_kinds, read_sources
from training.trainer.data.rows import Flat, Rows
from training.trainer.data.tokens import ROWS_AT_ONCE, Row, tokenize
from training.trainer.spec import METHODS, RunSpec
from training.trainer.stopping import PARENT_PID_VARIABLE, die_with_parent

VERSION = 1  # to be raised when the same rows become other tokens
KEEP_FROM_BYTES = 100_000
# A further process has to import Transformers first, which takes as long as some ten megabytes.
SHARE_FROM_BYTES = 16_000_000
CHUNKS_AHEAD = 4  # for each process

logger = logging.getLogger(__name__)


class Chunk(NamedTuple):
    """What some rows of a file have become."""

    rows: Flat
    truncated: int
    dropped: int


@dataclass(frozen=True)
class Cutter:
    """Tokenizes rows and cuts them to ``max_length`` tokens; None leaves them whole."""

    tokenizer: Any
    completion_only_loss: bool
    max_length: int | None

    def __call__(self, sources: list[Source]) -> Chunk:
        kept: list[Row] = []
        truncated = dropped = 0
        for row in tokenize(
            sources, self.tokenizer, completion_only_loss=self.completion_only_loss
        ):
            cut = Row(row.ids[: self.max_length], row.loss[: self.max_length])
            if self.max_length is not None and cut.weight == 0:
                dropped += 1
                continue
            truncated += cut.length < row.length
            kept.append(cut)
        return Chunk(Flat.of(kept), truncated, dropped)


def load_rows(files: RowFiles, tokenizer: Any, spec: RunSpec) -> Examples[Row]:
    """Read, tokenize and cut to ``max_length`` tokens. Raises BadData, DiskFull."""
    cutter = Cutter(tokenizer, spec.train.completion_only_loss, spec.train.max_length)

    def parts(tally: Tally) -> Iterator[Flat]:
        for chunk in _chunks(files, cutter, spec):
            tally.truncated += chunk.truncated
            tally.dropped += chunk.dropped
            yield chunk.rows

    return _kept(files, cutter, spec, parts)


def load_blocks(files: RowFiles, tokenizer: Any, spec: RunSpec) -> Examples[Row]:
    """Every document in the order of the files, each with its end token (and the begin token, if
    this tokenizer uses one), and all of it in blocks of ``max_length`` tokens. The last block may
    be shorter. Every token carries loss, also the first ones of a document, which follow upon
    another: so were the base models trained. Raises BadData, DiskFull."""
    length = spec.train.max_length
    cutter = Cutter(tokenizer, completion_only_loss=False, max_length=None)

    def parts(_tally: Tally) -> Iterator[Flat]:
        rest = np.empty(0, np.int32)
        for chunk in _chunks(files, cutter, spec):
            ids = np.concatenate([rest, chunk.rows.ids])
            full = len(ids) // length * length
            yield _blocks(ids[:full], length)
            rest = ids[full:]
        if len(rest) > 1:  # nothing predicts a first token
            yield _blocks(rest, length)

    return _kept(files, cutter, spec, parts)


def _blocks(ids: Any, length: int) -> Flat:
    ends = [*range(length, len(ids), length), len(ids)] if len(ids) else []
    return Flat(ids, np.ones(len(ids), np.bool_), np.array([0, *ends], np.int64))


def _kept(
    files: RowFiles, cutter: Cutter, spec: RunSpec, parts: Callable[[Tally], Iterable[Flat]]
) -> Examples[Row]:
    """The rows, in memory where they are few or there is no place to keep them."""
    if not spec.cache_dir or files.size_bytes < KEEP_FROM_BYTES:
        tally = Tally()
        rows = Rows(parts(tally))
        return Examples(rows, tally.truncated, tally.dropped)
    cache = TokenCache(Path(spec.cache_dir), spec.cache_limit_gb * 1e9)
    return cache.get(_key(files, cutter, spec), parts, needs_bytes=files.size_bytes)


def _key(files: RowFiles, cutter: Cutter, spec: RunSpec) -> str:
    """Of everything that the rows follow from. The contents of all files are looked at: that is
    a hundred times faster than to tokenize them, and a date or a size can deceive."""
    return hash_of(
        [VERSION, transformers.__version__, tokenizers.__version__],
        [METHODS[spec.method].rows, dict(files.columns), cutter.tokenizer.chat_template],
        [cutter.completion_only_loss, cutter.max_length, spec.train.max_length],
        *tokenizer_files(Path(spec.base_model.path)),
        "rows",
        *[word for path in files.paths for word in (Path(path).suffix, Path(path))],
    )


def _chunks(files: RowFiles, cutter: Cutter, spec: RunSpec) -> Iterator[Chunk]:
    """In the order of the files, however many processes are at work."""
    sources = of_kinds(read_sources(files), METHODS[spec.method].rows, spec.method)
    pieces = iter(lambda: list(itertools.islice(sources, ROWS_AT_ONCE)), [])
    processes = spec.train.dataset_num_proc or spec.device.num_threads
    if processes == 1 or files.size_bytes < SHARE_FROM_BYTES:
        return map(cutter, pieces)
    return _shared(pieces, cutter, processes)


def _shared(pieces: Iterable[list[Source]], cutter: Cutter, processes: int) -> Iterator[Chunk]:
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


_cutter: Cutter


def _begin_work(parent: int, cutter: Cutter) -> None:
    """In a process of the pool, once. It needs no threads of its own, and must not outlive us."""
    global _cutter
    _cutter = cutter
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ[PARENT_PID_VARIABLE] = str(parent)
    die_with_parent()


def _work(sources: list[Source]) -> Chunk:
    return _cutter(sources)
