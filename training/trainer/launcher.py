"""One process for each rank of a run: starts them, passes a stop on, and says how it ended.

The ranks find the environment that `torch.distributed.run` would give them, and can be started by
it as well. That we do not use it has reasons (docs/decisions/many-processes.md): its exit code does
not tell a stop from a failure, it ends the ranks in the middle of a checkpoint, and nobody who
kills its process group reaches them.
Standard library only: the launcher waits for as long as the run lasts, and must be small.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

from training.trainer import memory
from training.trainer.result import COMPLETED, FILE_NAME, STOPPED, Result, last_saved_step
from training.trainer.stopping import EXIT_CODE_STOPPED, PARENT_PID_VARIABLE, Stop

RENDEZVOUS_VARIABLE = "TRAINYARD_RENDEZVOUS"
POLL_S = 0.05
LAST_WORDS_S = 10.0  # for a rank to follow another that has ended in good order

logger = logging.getLogger("training.trainer")


def own_rank() -> int | None:
    """Which of several processes this one is, None where it is the only one."""
    rank = os.environ.get("RANK")
    return int(rank) if rank is not None else None


def is_launched() -> bool:
    """Whether `run_ranks` started this process, and so holds the lock for it."""
    return RENDEZVOUS_VARIABLE in os.environ


def run_ranks(run_dir: Path, world_size: int, stop: Stop, lock: IO[bytes]) -> Result:
    """Train with ``world_size`` processes. Returns what they left in result.json.

    A rank that was killed takes the others with it, and this process ends by the same signal: who
    started it sees what it would see of a single trainer. The ranks inherit ``lock``, so it is
    held until the last of them is gone. Raises BeginAnew where one was out of memory.
    """
    halvings = memory.noted(run_dir)
    rendezvous = run_dir / "rendezvous"
    rendezvous.unlink(missing_ok=True)
    ranks: list[subprocess.Popen[bytes]] = []
    with stop.deferred():
        try:
            ranks += (
                _start(run_dir, rank, world_size, rendezvous, lock) for rank in range(world_size)
            )
            codes = _watch(ranks, stop)
            if memory.noted(run_dir) != halvings:
                raise memory.BeginAnew
            result = _ending(run_dir, codes, stop)
        finally:
            _end_the_rest(ranks)
            rendezvous.unlink(missing_ok=True)
        stop.requested = False  # the ranks have heard it, or were done before
        return result


def _start(
    run_dir: Path, rank: int, world_size: int, rendezvous: Path, lock: IO[bytes]
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "training.trainer", str(run_dir)],
        stdin=subprocess.DEVNULL,
        pass_fds=[lock.fileno()],
        env=environment_of(rank, world_size, rendezvous),
    )


def environment_of(rank: int, world_size: int, rendezvous: Path) -> dict[str, str]:
    """Of a rank that this process starts."""
    loopback = "lo0" if sys.platform == "darwin" else "lo"
    return {
        "GLOO_SOCKET_IFNAME": loopback,  # all on one machine: nobody else is to hear them
        "NCCL_SOCKET_IFNAME": loopback,
        **os.environ,
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(world_size),
        RENDEZVOUS_VARIABLE: rendezvous.as_uri(),
        PARENT_PID_VARIABLE: str(os.getpid()),
    }


def _watch(ranks: list[subprocess.Popen[bytes]], stop: Stop) -> list[int]:
    """Wait for all ranks, and see that none is left waiting for one that is gone.

    Returns how each ended, as Popen tells it; those killed from here count as well ended.
    """
    asked = False
    ended_at: float | None = None
    while True:
        codes = [process.poll() for process in ranks]
        if all(code is not None for code in codes):
            return [code for code in codes if code is not None]
        if any(code not in (None, 0, EXIT_CODE_STOPPED) for code in codes):
            return _end_the_rest(ranks)
        stopped = EXIT_CODE_STOPPED in codes
        if (stop.requested or stopped) and not asked:
            asked = True
            for process in ranks:
                process.terminate()
        if stopped or codes[0] == 0:
            ended_at = ended_at or time.monotonic()
            if time.monotonic() - ended_at > LAST_WORDS_S:
                return _end_the_rest(ranks)
        time.sleep(POLL_S)


def _end_the_rest(ranks: list[subprocess.Popen[bytes]]) -> list[int]:
    codes = [process.poll() for process in ranks]
    for process, code in zip(ranks, codes, strict=True):
        if code is None:
            process.kill()
            process.wait()
    return [code or 0 for code in codes]


def _ending(run_dir: Path, codes: list[int], stop: Stop) -> Result:
    """What the ranks said; the end of this process where they could not say it.

    SIGABRT is how NCCL leaves when another rank has gone, so it is a cause only if nobody knows of
    another. SIGTERM kills a rank that is too young to listen, which is a stop like any other.
    """
    result = Result.read(run_dir)
    if result is not None and result.outcome == COMPLETED:
        return result
    signals = {rank: -code for rank, code in enumerate(codes) if code < 0}
    if stop.requested:
        signals = {rank: number for rank, number in signals.items() if number != signal.SIGTERM}
    killed = {rank: n for rank, n in signals.items() if n != signal.SIGABRT or result is None}
    for rank, number in killed.items():
        logger.error("Rank %d was ended by signal %d; the others end with it.", rank, number)
        (run_dir / FILE_NAME).unlink(missing_ok=True)  # others can only say that they lost it
        if number != signal.SIGKILL:  # which nobody can have caught
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    if result is not None:
        return result
    if stop.requested:
        return Result(outcome=STOPPED, step=last_saved_step(run_dir))
    logger.error("The ranks ended with exit status %s and left no result.", codes)
    sys.exit(1)
