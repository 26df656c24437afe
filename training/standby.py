"""The trainer that a worker's process keeps ready for its next run (`training.trainer.standby`).

It is a child of the very process that will follow it, so that it dies with it as any trainer does.
One that has died, is not ready, or loaded code that has changed meanwhile is not used; then the run
starts as if there had been none.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import signal
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from training import host
from training.trainer import cpu_rate, orders, spec

log = logging.getLogger(__name__)

COMMAND = [sys.executable, "-m", "training.trainer.standby"]


@dataclass(frozen=True)
class Standby:
    """A process that waits for its run, and the state of the code when it began to load it."""

    process: subprocess.Popen[bytes]
    code: tuple[tuple[str, int], ...]

    @classmethod
    def start(cls, environment: dict[str, str]) -> Standby:
        code = state_of_the_code()
        process = subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            cwd=settings.TRAINYARD_RUNS,
            env=environment,
        )
        return cls(process, code)

    def defect(self) -> str:
        """Why it cannot be used, "" where it can."""
        if self.process.poll() is not None:
            return "it has died"
        if self.code != state_of_the_code():
            return "the code has changed since it was loaded"
        assert self.process.stdout is not None
        readable, _, _ = select.select([self.process.stdout], [], [], 0)
        return "" if readable else "it has not loaded everything yet"

    def begin(self, run_dir: Path, environment: dict[str, str]) -> None:
        """Hand the run over. Raises OSError where it has just died."""
        assert self.process.stdin is not None
        order = {"run_dir": str(run_dir), "environment": environment}
        self.process.stdin.write(json.dumps(order).encode() + b"\n")
        self._close_pipes()

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            self._close_pipes()
        self.process.wait()

    def _close_pipes(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process.stdin.close()


class Keeper:
    """Keeps one standby for this process, once `begin` was called (and TRAINYARD_STANDBY is on)."""

    def __init__(self) -> None:
        self.standby: Standby | None = None
        self.is_on = False

    def begin(self) -> None:
        self.is_on = settings.TRAINYARD_STANDBY
        self.replace()

    def replace(self) -> None:
        """Have one, where there is none."""
        if not self.is_on or self.standby is not None:
            return
        try:
            self.standby = Standby.start({**trainer_environment(), **cpu_rate_wanted()})
        except OSError as error:  # no memory for another process; runs do without
            log.warning("no standby trainer: %s", error)

    def take(self, run_dir: Path, environment: dict[str, str]) -> subprocess.Popen[bytes] | None:
        """The standby, at work on ``run_dir``; None where the run has to start by itself."""
        if self.standby is None or not _is_for_one_process(run_dir):
            return None
        standby, self.standby = self.standby, None
        try:
            if not (defect := standby.defect()):
                standby.begin(run_dir, environment)
                return standby.process
        except OSError as error:
            defect = str(error)
        log.info("%s starts without the standby trainer: %s", run_dir.name, defect)
        standby.end()
        return None

    def end(self) -> None:
        self.is_on = False
        if self.standby is not None:
            self.standby.end()
            self.standby = None


keeper = Keeper()


def _is_for_one_process(run_dir: Path) -> bool:
    """Several ranks are processes of their own, and who starts them has no use for torch. A
    run.json that cannot be is for the run itself to tell of."""
    if (run_dir / orders.FILE_NAME).exists():
        return True
    try:
        return spec.RunSpec.read(run_dir).device.ranks == 1
    except spec.BadSpec:
        return False


def cpu_rate_wanted() -> dict[str, str]:
    """Where a standby is to note how fast the CPU is, and with how many threads runs use it."""
    return {
        cpu_rate.FILE: str(settings.TRAINYARD_CPU_RATE),
        cpu_rate.THREADS: str(host.usable_threads()),
    }


def trainer_environment() -> dict[str, str]:
    """What every trainer finds in its environment, whatever its run."""
    return {
        **os.environ,
        "PYTHONPATH": f"{settings.BASE_DIR}{os.pathsep}{settings.BASE_DIR / 'platform'}",
        "PYTHONUNBUFFERED": "1",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "TRAINYARD_PARENT_PID": str(os.getpid()),
    }


def state_of_the_code() -> tuple[tuple[str, int], ...]:
    """Changes when a file of the trainer does, or a package is installed or removed."""
    trainer = Path(spec.__file__).parent
    places = [*sorted(trainer.rglob("*.py")), Path(sysconfig.get_path("purelib"))]
    return tuple((str(place), place.stat().st_mtime_ns) for place in places)
