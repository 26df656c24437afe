"""Reading a run's log, which may be long and may still grow, and finding words in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from training.models import Job
from training.run_plan import run_dir

# One reading. Whoever wants more asks again from `next_offset`.
MOST_BYTES = 256 * 1024
TAIL_BYTES = 32 * 1024
# In a page, which is to come at once: some hundred lines.
PAGE_BYTES = 12 * 1024
# One search. Where there is more, it ends early, and goes on from `next_offset`.
MOST_SEARCHED = 32 * 2**20
MOST_FOUND = 60
BLOCK_BYTES = 2**20
LONGEST_SEARCH = 200  # characters
SHOWN_BYTES = 300  # of a line, around what was found


@dataclass(frozen=True)
class Part:
    """Some of the log; offsets count bytes."""

    text: str
    offset: int
    next_offset: int
    size: int


@dataclass(frozen=True)
class Line:
    """One that has the words in it; ``offset`` is where it begins."""

    offset: int
    text: str


@dataclass(frozen=True)
class Found:
    """``next_offset`` is ``size`` where the whole log was looked through."""

    lines: list[Line] = field(default_factory=list)
    next_offset: int = 0
    size: int = 0


def read(job: Job, offset: int, most: int = MOST_BYTES) -> Part:
    """From ``offset`` on. Where there is more than one reading holds, it ends with a whole line."""
    size, raw = _bytes(job, offset, most)
    begin = min(offset, size)
    if begin + len(raw) < size and b"\n" in raw:
        raw = raw[: raw.rfind(b"\n") + 1]
    return Part(raw.decode("utf-8", "replace"), begin, begin + len(raw), size)


def tail(job: Job, most: int = TAIL_BYTES) -> Part:
    """The last whole lines."""
    size, _ = _bytes(job, 0, 0)
    begin = max(size - most, 0)
    size, raw = _bytes(job, begin, most)
    if begin:
        cut = raw.find(b"\n") + 1
        begin, raw = begin + cut, raw[cut:]
    return Part(raw.decode("utf-8", "replace"), begin, begin + len(raw), size)


def path_of(job: Job) -> Path:
    return run_dir(job) / "log.txt"


def search(job: Job, words: str, offset: int = 0) -> Found:
    """The lines from byte ``offset`` on that contain these words, in capitals or not."""
    wanted = words.encode().lower()
    try:
        with open(path_of(job), "rb") as file:
            size = file.seek(0, 2)
            return _search(file, wanted, min(offset, size), size)
    except FileNotFoundError:
        return Found()


def _search(file: BinaryIO, wanted: bytes, offset: int, size: int) -> Found:
    found: list[Line] = []
    end = min(size, offset + MOST_SEARCHED)
    for begin, raw in _blocks(file, offset, end):
        low, at = raw.lower(), 0
        while (at := low.find(wanted, at)) >= 0:
            first = low.rfind(b"\n", 0, at) + 1
            last = low.find(b"\n", at)
            last = len(low) if last < 0 else last
            found.append(Line(begin + first, _around(raw[first:last], at - first, len(wanted))))
            at = last + 1
            if len(found) == MOST_FOUND:
                return Found(found, min(begin + at, size), size)
        end = begin + len(raw)
    return Found(found, end, size)


def _blocks(file: BinaryIO, offset: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Whole lines, with the offset of the first, but for lines longer than a block."""
    file.seek(offset)
    rest = b""
    while offset < end:
        raw = rest + file.read(BLOCK_BYTES)
        if len(raw) == len(rest):  # the end of the file, in the middle of a line
            if rest:
                yield offset, rest
            return
        cut = raw.rfind(b"\n") + 1 or len(raw)
        yield offset, raw[:cut]
        offset, rest = offset + cut, raw[cut:]


def _around(line: bytes, at: int, length: int) -> str:
    """The line, or of a long one what stands around the place."""
    if len(line) > SHOWN_BYTES:
        first = max(at - (SHOWN_BYTES - length) // 2, 0)
        line = line[first : first + SHOWN_BYTES]
    return line.decode("utf-8", "replace").strip("\r")


def _bytes(job: Job, offset: int, most: int) -> tuple[int, bytes]:
    """The size of the log and at most so many bytes of it; a run that has not begun has none."""
    try:
        with open(path_of(job), "rb") as file:
            size = file.seek(0, 2)
            file.seek(min(offset, size))
            return size, file.read(most)
    except FileNotFoundError:
        return 0, b""
