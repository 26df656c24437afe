"""Real platforms in folders of their own, started as `make run` starts them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[3]
COMMAND = [sys.executable, str(ROOT / "manage.py"), "run"]
# A word of each program's command line.
PROGRAMS = {
    "valkey": "valkey-server",
    "web": "uvicorn",
    "worker": "--beat",
    "transfers": "-transfers@",
}
# For what takes seconds, on a machine that does much else.
PATIENCE_S = 120


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(
    what: str, condition: Callable[[], Any], seconds: float, *, every_s: float = 0.02
) -> float:
    """Seconds until the condition held. Fails with ``what`` when it does not in time."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"{what}: not within {seconds} s"
        time.sleep(every_s)
    return time.monotonic() - began


@dataclass
class Instance:
    """One platform: ``manage.py run`` with its own home and port."""

    home: Path
    port: int = field(default_factory=free_port)
    extra: dict[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self.process is not None, "not started"
        return self.process.pid

    @property
    def output(self) -> Path:
        return self.home / "output.txt"

    @property
    def environment(self) -> dict[str, str]:
        outside = {"DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL"}
        kept = {name: value for name, value in os.environ.items() if name not in outside}
        own = {
            "TRAINYARD_HOME": str(self.home),
            "PORT": str(self.port),
            "TRAINYARD_STANDBY": "0",  # most instances train nothing, and loading torch takes cores
        }
        return {**kept, **own, "PYTHONUNBUFFERED": "1", **self.extra}

    def start(self) -> None:
        """Returns when the web server answers and the worker has begun to work."""
        self.home.mkdir(exist_ok=True)
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                COMMAND,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.cwd,
            )
        try:
            wait_for("the start", lambda: self.said("Trainyard is at"), PATIENCE_S)
            wait_for("the worker", lambda: self.worker_starts() > 0, PATIENCE_S)
        except AssertionError as error:
            self.kill_everything()
            raise AssertionError(f"{error}\n{self.output.read_text()}") from error

    def refusal(self) -> str:
        """What is said by an instance that cannot start."""
        end = subprocess.run(
            COMMAND,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert end.returncode == 1, end.stdout + end.stderr
        return end.stderr

    def said(self, words: str) -> bool:
        return words in self.output.read_text(errors="replace")

    def status_of(self, path: str) -> int:
        """The HTTP status, or 0 without an answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code
        except OSError:
            return 0

    def pid_of(self, program: str) -> int | None:
        """The main process of a program: the supervisor's own child."""
        for child in psutil.Process(self.pid).children():
            try:
                if any(PROGRAMS[program] in word for word in child.cmdline()):
                    return child.pid
            except psutil.NoSuchProcess:
                continue
        return None

    def log_of(self, program: str) -> str:
        return (self.home / "logs" / f"{program}.log").read_text(errors="replace")

    def worker_starts(self) -> int:
        return self.log_of("worker").count("ready.")

    def processes(self) -> list[psutil.Process]:
        """Everything that was started with this home, whoever its parent is now."""
        found = []
        for process in psutil.process_iter():
            try:
                ours = process.environ().get("TRAINYARD_HOME") == str(self.home)
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def kill_everything(self) -> None:
        for process in self.processes():
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        if self.process is not None:
            self.process.wait(10)
