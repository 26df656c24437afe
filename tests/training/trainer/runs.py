"""Start the real trainer process on a run directory, disturb it, and read what it left."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from tests.training.trainer import nursery
from training.trainer import events

PATIENCE_S = 300.0


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


class Process(Protocol):
    """A process as `subprocess.Popen` has it."""

    pid: int

    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, sig: int) -> None: ...
    def kill(self) -> None: ...


class Born:
    """A process that the `nursery` has forked."""

    def __init__(self, module: str, *arguments: str, environment: dict[str, str], log: Path):
        start = {"start": module, "arguments": arguments, "environment": environment}
        self.pid: int = _nursery()({**start, "log": str(log)})["pid"]
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = _nursery()({"pid": self.pid})["returncode"]
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        deadline = time.monotonic() + (PATIENCE_S if timeout is None else timeout)
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired([str(self.pid)], deadline)
            time.sleep(0.005)
        return code

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, sig)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


@functools.cache
def _nursery() -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Asks the nursery, which goes when this process does."""
    ours, theirs = socket.socketpair()
    process = subprocess.Popen(
        [sys.executable, "-m", nursery.__name__, str(theirs.fileno())],
        stdin=subprocess.DEVNULL,
        pass_fds=[theirs.fileno()],
        env={**os.environ, **nursery.ENVIRONMENT, "TRAINYARD_PARENT_PID": str(os.getpid())},
    )
    theirs.close()
    lines = ours.makefile("rw", encoding="utf-8")

    def ask(request: dict[str, Any]) -> dict[str, Any]:
        lines.write(json.dumps(request) + "\n")
        lines.flush()
        answer = lines.readline()
        assert answer, f"the nursery is gone: {process.wait()}"
        found: dict[str, Any] = json.loads(answer)
        return found

    return ask


def start(
    module: str, *arguments: str, log: Path, environment: dict[str, str], cold: bool = False
) -> Process:
    """``python -m module ARGUMENTS``, all it says in ``log``. It has imported torch already, unless
    ``cold``."""
    if not cold and sys.platform == "linux":
        return Born(module, *arguments, environment=environment, log=log)
    with open(log, "ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdout=output,
            stderr=output,
            env={**environment, "TRAINYARD_PARENT_PID": str(os.getpid())},
        )


@contextlib.contextmanager
def trainer(run_dir: Path, *, cold: bool = False) -> Iterator[Process]:
    """The process, its log in log.txt; killed on the way out if it still runs."""
    process = start(
        "training.trainer",
        str(run_dir),
        log=run_dir / "log.txt",
        environment=dict(os.environ),
        cold=cold,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def finish(run_dir: Path, *, cold: bool = False) -> int:
    """Let the trainer run to its end; its exit code."""
    with trainer(run_dir, cold=cold) as process:
        return process.wait(PATIENCE_S)


def wait_until(condition: Callable[[], bool], process: Process) -> None:
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
