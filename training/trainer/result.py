"""How a training process ended: ``RUN_DIR/result.json``, written once, as its last act.

A process that was killed leaves none; whoever started it then reads the exit status.
Standard library only.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FILE_NAME = "result.json"

COMPLETED = "completed"
STOPPED = "stopped"
FAILED = "failed"

# Why a run failed, for programs; `message` says it for people.
FAILURE_KINDS = {
    "out_of_memory": "the GPU ran out of memory",
    "host_memory": "the machine ran out of memory",
    "disk_full": "the disk is full",
    "diverged": "the loss has exploded, or is not a number any more",
    "bad_settings": "a setting cannot be",
    "bad_data": "the dataset cannot be used",
    "bad_model": "the base model cannot be used",
    "lost_worker": "the worker vanished, again and again",
    "stalled": "the training stood still, again and again",
    "bug": "an error nobody foresaw",
}


@dataclass(frozen=True, kw_only=True)
class Failure:
    """One sentence about the cause, one about what to do."""

    kind: str
    message: str
    advice: str


@dataclass(frozen=True, kw_only=True)
class Result:
    """``exports`` maps the kind ("safetensors") to its folder; ``evaluation`` holds the numbers
    measured ``before`` (base model) and ``after`` (result)."""

    outcome: str
    step: int = 0
    exports: dict[str, str] = field(default_factory=dict)
    evaluation: dict[str, dict[str, float]] = field(default_factory=dict)
    failure: Failure | None = None

    def write(self, run_dir: Path) -> None:
        """Atomically: a reader sees all of it or nothing."""
        half = run_dir / (FILE_NAME + ".tmp")
        half.write_text(json.dumps(dataclasses.asdict(self), indent=2), encoding="utf-8")
        os.replace(half, run_dir / FILE_NAME)

    def write_unless_told(self, run_dir: Path) -> None:
        """As `write`, for one of many ranks: what another one has written stands. The first to end
        knows the reason, those after it only that they were left alone."""
        half = run_dir / f"{FILE_NAME}.{os.getpid()}.tmp"
        half.write_text(json.dumps(dataclasses.asdict(self), indent=2), encoding="utf-8")
        with contextlib.suppress(FileExistsError):
            os.link(half, run_dir / FILE_NAME)
        half.unlink()

    @classmethod
    def read(cls, run_dir: Path) -> Result | None:
        """None where the process left no result."""
        try:
            raw: dict[str, Any] = json.loads((run_dir / FILE_NAME).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        failure = raw.pop("failure")
        return cls(**raw, failure=Failure(**failure) if failure else None)


def last_saved_step(run_dir: Path) -> int:
    """The step of the newest checkpoint, 0 where there is none."""
    saved = (run_dir / "checkpoints").glob("step-*[0-9]")
    return max((int(path.name.removeprefix("step-")) for path in saved), default=0)
