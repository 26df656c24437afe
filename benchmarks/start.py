"""How long the platform takes to start, to come back after kill -9, and to stop.

``python benchmarks/start.py``, on a machine that does nothing else. Real processes in an empty
home, SQLite and the Valkey that comes along. Prints seconds, and the memory of each program.
"""

from __future__ import annotations

import os
import signal
import tempfile
import time
from pathlib import Path

import psutil

from tests.trainyard.running.instances import PROGRAMS, Instance, wait_for

PATIENCE_SECONDS = 60


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="trainyard-bench-") as folder:
        instance = Instance(Path(folder) / "home")
        began = time.monotonic()
        instance.start()
        try:
            report("from nothing to a worker that is ready", time.monotonic() - began)
            for program in PROGRAMS:
                report(f"{program} is back after kill -9", kill_and_wait(instance, program))
            for program in PROGRAMS:
                print(f"{memory_mb(instance, program):8.0f} MB  {program}")
            began = time.monotonic()
            os.kill(instance.pid, signal.SIGTERM)
            assert instance.process is not None
            instance.process.wait(PATIENCE_SECONDS)
            report("SIGTERM to the end of every process", time.monotonic() - began)
        finally:
            instance.kill_everything()


def kill_and_wait(instance: Instance, program: str) -> float:
    """Seconds until the program serves again."""
    before, worker_starts = instance.pid_of(program), instance.worker_starts()
    assert before is not None
    os.kill(before, signal.SIGKILL)

    def is_back() -> bool:
        if instance.pid_of(program) in (None, before):
            return False
        if program == "worker":
            return instance.worker_starts() > worker_starts
        return instance.status_of("/healthz" if program == "web" else "/readyz") == 200

    return wait_for(program, is_back, PATIENCE_SECONDS)


def memory_mb(instance: Instance, program: str) -> float:
    """What the program and its children hold for themselves, in MB (unique set size)."""
    main_process = psutil.Process(instance.pid_of(program))
    family = [main_process, *main_process.children(recursive=True)]
    return float(sum(process.memory_full_info().uss for process in family)) / 1e6


def report(what: str, seconds: float) -> None:
    print(f"{seconds:8.2f} s   {what}")


if __name__ == "__main__":
    main()
