"""``python -m tests.training.trainer.nursery FD`` has imported what trainers need, and forks them.

A run in a test is a process of its own, with its own signals, locks and death. That each of them
imports torch for some seconds would tell nothing more, so they are forked from one that has done it
once. The nursery computes nothing and has one thread, which a fork takes along. How a trainer comes
to be without it is tested with `runs.trainer(..., cold=True)`.

It reads requests from the socket FD, a JSON object a line, and answers each with a line: ``start``
names a module to run (`python -m`), ``pid`` asks how a process has ended.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import runpy
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import IO, Any, NoReturn

from training.trainer import launcher
from training.trainer.stopping import PARENT_PID_VARIABLE, die_with_parent

# What the libraries read when they are imported; a run sets the rest itself.
ENVIRONMENT = {
    "GOMP_SPINCOUNT": "10000",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}
TRAINER = "training.trainer"
STOPS = (signal.SIGTERM, signal.SIGINT)


class Forked:
    """A child, as far as `launcher` looks at it; how it ended is told as Popen tells it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        return self._look(os.WNOHANG)

    def wait(self) -> int | None:
        return self._look(0)

    def _look(self, how: int) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, how)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def terminate(self) -> None:
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


def main(connection: socket.socket) -> None:
    die_with_parent()
    preload()
    threads = len(os.listdir("/proc/self/task"))
    assert threads == 1, f"{threads} threads: a fork would leave all but one behind"
    launcher._start = start_rank  # type: ignore[assignment]
    children: dict[int, Forked] = {}
    with connection.makefile("rw", encoding="utf-8") as lines:
        for line in lines:
            request = json.loads(line)
            if "start" in request:
                child = start(connection, request)
                children[child.pid] = child
                answer: dict[str, Any] = {"pid": child.pid}
            else:
                answer = {"returncode": children[request["pid"]].poll()}
            lines.write(json.dumps(answer) + "\n")
            lines.flush()


def preload() -> None:
    import torch._inductor.compile_fx  # noqa: F401
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping
    from transformers.models.llama import modeling_llama  # noqa: F401

    from training.trainer import adapted, loop  # noqa: F401

    get_checkpoint_conversion_mapping("llama")
    gc.collect()
    gc.freeze()  # what is never looked at again stays shared


def fork() -> int:
    """The child hears a stop only once it is somebody of its own: not with its parent's ears."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    pid = os.fork()
    if not pid:
        for number in STOPS:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    return pid


def start(connection: socket.socket, request: dict[str, Any]) -> Forked:
    environment = {**request["environment"], PARENT_PID_VARIABLE: str(os.getpid())}
    pid = fork()
    if not pid:
        connection.close()
        become(request["start"], request["arguments"], environment, log=request["log"])
    return Forked(pid)


def start_rank(
    run_dir: Path, rank: int, world_size: int, rendezvous: Path, lock: IO[bytes]
) -> Forked:
    """In the place of `launcher._start`; the lock comes along by itself."""
    environment = launcher.environment_of(rank, world_size, rendezvous)
    pid = fork()
    if not pid:
        become(TRAINER, [str(run_dir)], environment, log=None)
    return Forked(pid)


def become(
    module: str, arguments: list[str], environment: dict[str, str], *, log: str | None
) -> NoReturn:
    """Run the module as the program of this process, and end with it."""
    try:
        logging.getLogger().handlers.clear()
        os.environ.clear()
        os.environ.update(environment)
        if log is not None:
            output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.close(output)
        sys.argv = [module, *arguments]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        if isinstance(ended.code, str):
            sys.stderr.write(f"{ended.code}\n")
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
