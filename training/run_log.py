"""Reading a run's log, which may be long and may still grow."""

from __future__ import annotations

from dataclasses import dataclass

from training.models import Job
from training.run_plan import run_dir

# One reading. Whoever wants more asks again from `next_offset`.
MOST_BYTES = 256 * 1024
TAIL_BYTES = 32 * 1024


@dataclass(frozen=True)
class Part:
    """Some of the log; offsets count bytes."""

    text: str
    offset: int
    next_offset: int
    size: int


def read(job: Job, offset: int) -> Part:
    """From ``offset`` on. Where there is more than one reading holds, it ends with a whole line."""
    size, raw = _bytes(job, offset, MOST_BYTES)
    begin = min(offset, size)
    if begin + len(raw) < size and b"\n" in raw:
        raw = raw[: raw.rfind(b"\n") + 1]
    return Part(raw.decode("utf-8", "replace"), begin, begin + len(raw), size)


def tail(job: Job) -> Part:
    """The last whole lines."""
    size, _ = _bytes(job, 0, 0)
    begin = max(size - TAIL_BYTES, 0)
    size, raw = _bytes(job, begin, TAIL_BYTES)
    if begin:
        cut = raw.find(b"\n") + 1
        begin, raw = begin + cut, raw[cut:]
    return Part(raw.decode("utf-8", "replace"), begin, begin + len(raw), size)


def _bytes(job: Job, offset: int, most: int) -> tuple[int, bytes]:
    """The size of the log and at most so many bytes of it; a run that has not begun has none."""
    try:
        with open(run_dir(job) / "log.txt", "rb") as file:
            size = file.seek(0, 2)
            file.seek(min(offset, size))
            return size, file.read(most)
    except FileNotFoundError:
        return 0, b""
