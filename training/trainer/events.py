"""What a training process says while it works: a JSON object a line in ``RUN_DIR/events.jsonl``.

Every line has ``seq`` (its number, from 1), ``event`` (one of the names below) and ``time``
(seconds since the epoch). A run that was killed repeats the steps after its last checkpoint; what
it had already said it does not say again, so that a reader never sees an event missing or doubled.
Two events are the same when their name and their ``step`` (or ``kind``, or ``percent``) are the
same.
Standard library only.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# In this order: data, model, plan; the evaluation of step 0, if rows are held out; then for each
# step what happened in it, its evaluation, its checkpoint; the export. The counts in `data` do not
# overlap: truncated rows were shortened and kept, dropped rows had nothing left to learn from.
# A `step` event is about that step alone (not an average), its speed about all steps since the
# last one. The last step's evaluation comes before its checkpoint.
DATA = "data"  # train_rows eval_rows train_tokens truncated_rows dropped_rows
DATA_PROGRESS = "data_progress"  # rows percent; now and then while much data is read
MODEL = "model"  # parameters trainable_parameters dtype device
PLAN = "plan"  # max_steps steps_per_epoch
STEP = "step"  # step epoch loss learning_rate grad_norm tokens tokens_per_s samples_per_s memory_mb
EVALUATION = "evaluation"  # step eval_loss eval_token_accuracy, and a number for each suite
BEST = "best"  # step, and what the evaluation says of it; the result is this checkpoint
BATCH_HALVED = "batch_halved"  # step micro_batch_size grad_accum before; see `memory`
CHECKPOINT = "checkpoint"  # step path size_bytes kept (the steps of all that are there now)
MEASURED = "measured"  # steps peak_memory_mb step_seconds ...; what a probe ends with, see `probe`
EXPORT = "export"  # kind path size_bytes, and what `exports.compare` found when reloading it
EXPORT_FAILED = "export_failed"  # kind message; the run goes on without it
REPORTING_FAILED = "reporting_failed"  # kind (whom to report to) message; the run goes on

FILE_NAME = "events.jsonl"
SIGN_OF_LIFE = "alive"  # a file beside it, as old as the last sign of life (see `EventLog.alive`)


def identity(line: dict[str, Any]) -> tuple[str, Any]:
    """What makes two lines the same event."""
    for fact in ("kind", "micro_batch_size", "step", "percent"):
        if fact in line:
            return line["event"], line[fact]
    return line["event"], None


class EventLog:
    """Appends to events.jsonl. One writer; readers may follow the file as it grows.

    Of the ranks of a run only the first ``speaks``. The others keep in mind what would be said, so
    that all of them find the same still to do.
    """

    def __init__(self, run_dir: Path, *, speaks: bool = True) -> None:
        """Opens for appending, and first cuts off what a crash left at the end: half a line, or
        blocks that were never written."""
        path = run_dir / FILE_NAME
        self.speaks = speaks
        self._sign = run_dir / SIGN_OF_LIFE
        self._sign_at = 0.0
        self._file = open(path, "a+b")  # noqa: SIM115 (closed by close)
        self._said: set[tuple[str, Any]] = set()
        self.hear: Callable[[dict[str, Any]], None] = lambda _line: None  # who else is told
        self.seq = 0
        complete_bytes = 0
        self._file.seek(0)
        for raw in self._file:
            try:
                line = json.loads(raw)
            except ValueError:
                break
            if not raw.endswith(b"\n"):
                break
            self._said.add(identity(line))
            self.seq = line["seq"]
            complete_bytes += len(raw)
        if speaks:
            self._file.truncate(complete_bytes)

    def emit(self, event: str, **facts: Any) -> None:
        """Append one event, unless it was said before. NaN is written as null."""
        line = {"seq": self.seq + 1, "event": event, "time": round(time.time(), 3), **facts}
        if identity(line) in self._said:
            return
        if self.speaks:
            self._file.write(json.dumps(_finite(line)).encode() + b"\n")
            self._file.flush()
        self._said.add(identity(line))
        self.seq += 1
        self.hear(line)

    def alive(self, *, lasting_s: float = 0.0) -> None:
        """Say that the run moves; ``lasting_s``: that the next word may be so much later than
        usual. Whoever hears nothing for long may take the run for stuck, so it is said by the code
        that does the work, never by a clock."""
        now = time.time()
        if self.speaks and (lasting_s or abs(now - self._sign_at) > 1):
            self._sign_at = now + lasting_s
            self._sign.touch()
            os.utime(self._sign, (self._sign_at, self._sign_at))

    def said(self, event: str, step: int) -> bool:
        return (event, step) in self._said

    def recall(self, event: str, step: int) -> dict[str, Any]:
        """An event that was said before, by this process or the one it goes on from."""
        self._file.seek(0)
        for line in _parse(self._file.read()):
            if identity(line) == (event, step):
                return line
        raise LookupError(f"no {event} event of step {step}")

    def curve(self, event: str, number: str) -> tuple[tuple[int, float], ...]:
        """The steps of these events with one of their numbers, as far as they have it."""
        self._file.seek(0)
        return tuple(
            (line["step"], line[number])
            for line in _parse(self._file.read())
            if line["event"] == event and line.get(number) is not None
        )

    def sync(self) -> None:
        """Force to disk: a checkpoint must never be younger than what was said before it."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def follow(path: Path, offset: int) -> tuple[list[dict[str, Any]], int]:
    """The complete lines after byte ``offset``, and the offset behind them."""
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            raw = file.read()
    except FileNotFoundError:
        return [], offset
    end = raw.rfind(b"\n") + 1
    return list(_parse(raw[:end])), offset + end


def sign_of_life(run_dir: Path) -> float:
    """When the run was last known to move, in seconds since the epoch; in the future where it has
    said that it will be quiet; 0 where it has not said anything."""
    try:
        return (run_dir / SIGN_OF_LIFE).stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _parse(raw: bytes) -> Iterator[dict[str, Any]]:
    for line in raw.splitlines():
        yield json.loads(line)


def _finite(line: dict[str, Any]) -> dict[str, Any]:
    return {
        key: None if isinstance(v, float) and (v != v or v in (float("inf"), float("-inf"))) else v
        for key, v in line.items()
    }
