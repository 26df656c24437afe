"""Start the real trainer process on a run directory, disturb it, and read what it left."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from training.trainer import events

PATIENCE_S = 120.0


def write_run(run_dir: Path, base_model: Path, rows: Path, /, **settings: Any) -> Path:
    """A run directory with run.json; ``settings`` are its parts, dictionaries or plain values."""
    run_dir.mkdir(parents=True)
    spec: dict[str, Any] = {
        "run_id": run_dir.name,
        "name": "sums",
        "method": "full",
        "base_model": {"path": str(base_model), "name": "tiny", "id": "model-1"},
        "dataset": {"train": [str(rows)], "id": "data-1", "checksum": "sha256:abc"},
        "export_dir": str(run_dir / "exports"),
        "train": {},
    }
    for key, value in settings.items():
        spec[key] = {**spec[key], **value} if isinstance(spec.get(key), dict) else value
    (run_dir / "run.json").write_text(json.dumps(spec), encoding="utf-8")
    return run_dir


@contextlib.contextmanager
def trainer(run_dir: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The process, its log in log.txt; killed on the way out if it still runs."""
    command = [sys.executable, "-m", "training.trainer", str(run_dir)]
    environment = {**os.environ, "TRAINYARD_PARENT_PID": str(os.getpid())}
    with (
        open(run_dir / "log.txt", "ab") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env=environment) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def finish(run_dir: Path) -> int:
    """Let the trainer run to its end; its exit code."""
    with trainer(run_dir) as process:
        return process.wait(PATIENCE_S)


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    """Look as often as possible: the moments to catch are short."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        ended = process.poll() is not None
        if condition():
            return
        assert not ended, "the trainer ended before the moment came"
        assert time.monotonic() < deadline, "the moment never came"
        time.sleep(0.001)


def said(run_dir: Path, event: str | None = None) -> list[dict[str, Any]]:
    """The events so far, all or those of one name."""
    lines, _ = events.follow(run_dir / events.FILE_NAME, 0)
    return [line for line in lines if event in (None, line["event"])]


def last_step(run_dir: Path) -> int:
    return max((line["step"] for line in said(run_dir, events.STEP)), default=0)


def losses(run_dir: Path) -> dict[int, float]:
    return {line["step"]: line["loss"] for line in said(run_dir, events.STEP)}


def weights_hash(run_dir: Path) -> str:
    (weights,) = (run_dir / "exports" / "safetensors").glob("*model.safetensors")
    return hashlib.sha256(weights.read_bytes()).hexdigest()
