"""Tokenized rows are kept: a second run on the same data, or the same run resumed, begins at once.

A folder holds them, named by a hash of all that they follow from. There is one writer at a time for
each name; who comes second waits and reads. The folders used longest ago go first when all together
are larger than they may be; a run that looks at one that is removed keeps what it has mapped.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from training.trainer import durable
from training.trainer.data import rows as rows_module
from training.trainer.data.rows import Flat, Rows

ROWS = "rows.arrow"
FACTS = "facts.json"
LOCKS = "locks"
# Of a model's folder, what the tokenizer cannot depend on.
WEIGHTS = frozenset({".safetensors", ".bin", ".pt", ".pth", ".gguf", ".onnx", ".h5", ".msgpack"})

logger = logging.getLogger(__name__)


@dataclass
class Tally:
    """What becomes of the rows, counted while they are made; `_fill` finds the highest token.
    ``labels`` are what the labels of the rows stand for, each with the row where it stood first."""

    truncated: int = 0
    dropped: int = 0
    highest: int = 0
    labels: list[tuple[str | int, str]] = field(default_factory=list)


class Kept(NamedTuple):
    rows: Rows
    tally: Tally


@dataclass(frozen=True)
class TokenCache:
    folder: Path
    limit_bytes: float

    def get(self, key: str, make: Callable[[Tally], Iterable[Flat]], *, needs_bytes: int) -> Kept:
        """The rows kept under ``key``; where there are none, those that ``make`` yields. Raises
        DiskFull, and whatever ``make`` raises."""
        place = self.folder / key
        with self._alone_with(key):
            found = _open(place)
            if found is None:
                _fill(place, make, needs_bytes)
                found = _open(place)
                assert found is not None
            else:
                logger.info("The rows were tokenized before.")
            os.utime(place)
        self._make_room(place)
        return found

    @contextlib.contextmanager
    def _alone_with(self, key: str) -> Iterator[None]:
        """Nobody else is inside with the same key. The lock goes with the process that holds it."""
        locks = self.folder / LOCKS
        locks.mkdir(parents=True, exist_ok=True)
        with open(locks / key, "wb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                logger.info("Another run tokenizes the same rows; waiting for it.")
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _make_room(self, mine: Path) -> None:
        """Remove what was used longest ago; also what a killed process left half written."""
        folders = [path for path in self.folder.iterdir() if path.name != LOCKS and path != mine]
        total = _size_bytes(mine)
        for folder in sorted(folders, key=_last_used, reverse=True):
            total += _size_bytes(folder)
            if total <= self.limit_bytes:
                continue
            with contextlib.suppress(BlockingIOError), self._if_nobody_fills(folder):
                logger.info("Removing %s, tokenized rows not used of late.", folder)
                shutil.rmtree(folder, ignore_errors=True)

    @contextlib.contextmanager
    def _if_nobody_fills(self, folder: Path) -> Iterator[None]:
        """Raises BlockingIOError where somebody does."""
        with open(self.folder / LOCKS / folder.name.partition(".")[0], "wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield


def _last_used(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:  # somebody else has removed it
        return 0.0


def _size_bytes(folder: Path) -> int:
    try:
        return (folder / ROWS).stat().st_size
    except FileNotFoundError:
        return 0


def _fill(place: Path, make: Callable[[Tally], Iterable[Flat]], needs_bytes: int) -> None:
    tally = Tally()

    def counted() -> Iterator[Flat]:
        for part in make(tally):
            tally.highest = max(tally.highest, int(part.ids.max(initial=0)))
            yield part

    what = "What the rows become as tokens"
    with durable.whole_folder(place, what=what, needs_bytes=needs_bytes) as half:
        rows_module.write(half / ROWS, counted())
        (half / FACTS).write_text(json.dumps(vars(tally)), encoding="utf-8")


def _open(place: Path) -> Kept | None:
    """None where nothing is kept there that can be read."""
    try:
        tally = Tally(**json.loads((place / FACTS).read_text(encoding="utf-8")))
        return Kept(rows_module.read(place / ROWS, highest=tally.highest), tally)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        logger.warning("%s cannot be read and is made again (%s).", place, error)
        return None


def hash_of(*parts: Any) -> str:
    """Of plain values, and of the contents of files (`Path`), in this order."""
    found = [_content(part) if isinstance(part, Path) else part for part in parts]
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


def tokenizer_files(model: Path) -> list[Path]:
    """All files of a model's folder but its weights."""
    files = (path for path in model.rglob("*") if path.suffix.lower() not in WEIGHTS)
    return sorted(path for path in files if path.is_file())


def _content(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
