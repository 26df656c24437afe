"""``python -m training.trainer RUN_DIR``: set up, train, and say how it ended.

Exit codes: 0 completed, 3 stopped on request, 1 failed. All but the last lines of this module
run before torch is imported, so that a stop is heard and the parent's death noticed from the start.
"""

from __future__ import annotations

import contextlib
import faulthandler
import fcntl
import logging
import os
import signal
import sys
import time
import warnings
from pathlib import Path
from typing import IO, NoReturn

from training.trainer import events, launcher, memory, result
from training.trainer.failures import explain
from training.trainer.memory import BeginAnew
from training.trainer.result import Result, last_saved_step
from training.trainer.spec import RunSpec
from training.trainer.stopping import EXIT_CODE_STOPPED, Stop, StopRequested, die_with_parent

EXIT_CODES = {result.COMPLETED: 0, result.STOPPED: EXIT_CODE_STOPPED, result.FAILED: 1}
LOCK_PATIENCE_S = 10.0
RESERVE_BYTES = 64 * 1024

logger = logging.getLogger("training.trainer")


def main(run_dir: Path) -> int:
    die_with_parent()
    stop = Stop()
    stop.listen()
    speak_plainly()
    share_the_cores()
    faulthandler.register(signal.SIGUSR1, all_threads=True)  # to be asked what it is doing
    rank = launcher.own_rank()
    lock = None
    if not launcher.is_launched() and rank in (None, 0):
        lock = take_lock(run_dir)
        if lock is None:
            logger.error("Another trainer is at work in %s; this one leaves.", run_dir)
            return EXIT_CODES[result.FAILED]
        (run_dir / result.FILE_NAME).unlink(missing_ok=True)
    ended = Result.write if rank is None else Result.write_unless_told
    stop.before_exit = lambda: ended(stopped(run_dir), run_dir)
    try:
        outcome = run(run_dir, stop, lock)
    except BeginAnew:
        if rank is not None:  # who launched the ranks launches all of them again
            return EXIT_CODES[result.FAILED]
        os.execv(sys.executable, [sys.executable, "-m", "training.trainer", str(run_dir)])
    stop.stop_listening()
    if not rank or outcome.outcome != result.COMPLETED:  # which the first rank alone can say
        ended(outcome, run_dir)
        logger.info("The run is over: %s at step %d.", outcome.outcome, outcome.step)
    if lock is not None:
        lock.close()
    return EXIT_CODES[outcome.outcome]


def run(run_dir: Path, stop: Stop, lock: IO[bytes] | None = None) -> Result:
    """Train, and turn whatever happens into a Result. Who has the ``lock`` may start ranks.

    Raises BeginAnew where the run has to go on in a new process."""
    rank = launcher.own_rank()
    reserve = run_dir / (f"reserve-{rank}" if rank else "reserve")
    try:
        # A full disk must not keep us from saying that it is full.
        reserve.write_bytes(bytes(RESERVE_BYTES))
        spec = memory.spec_in_force(RunSpec.read(run_dir), run_dir)
        if lock is not None and rank is None and spec.device.ranks > 1:
            return launcher.run_ranks(run_dir, spec.device.ranks, stop, lock)
        logger.info("Loading PyTorch and Transformers.")
        from transformers.utils.logging import disable_progress_bar

        from training.trainer import reporting
        from training.trainer.loop import train

        disable_progress_bar()
        with (
            contextlib.closing(events.EventLog(run_dir, speaks=not rank)) as log,
            reporting.attached(spec, run_dir, log),
        ):
            stop.on_check = log.alive
            return train(spec, run_dir, log, stop)
    except StopRequested:
        logger.info("Stopped on request.")
        return stopped(run_dir)
    except BeginAnew:
        if stop.requested:
            return stopped(run_dir)
        raise
    except Exception as error:
        failure = explain(error)
        logger.error("%s %s", failure.message, failure.advice)
        return Result(outcome=result.FAILED, step=last_saved_step(run_dir), failure=failure)
    finally:
        reserve.unlink(missing_ok=True)


def stopped(run_dir: Path) -> Result:
    return Result(outcome=result.STOPPED, step=last_saved_step(run_dir))


def take_lock(run_dir: Path) -> IO[bytes] | None:
    """Two trainers must never write one run directory. Waits for one that is just dying."""
    lock = open(run_dir / "lock", "wb")  # noqa: SIM115 (held until the process ends)
    deadline = time.monotonic() + LOCK_PATIENCE_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:
            if time.monotonic() > deadline:
                lock.close()
                return None
            time.sleep(0.1)


def speak_plainly() -> None:
    """Log sentences to stderr, and keep the libraries quiet and off the network. Of several ranks
    the first tells the news; of trouble each."""
    rank = launcher.own_rank()
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.WARNING,
        format=f"%(asctime)s %(levelname)s {f'rank {rank}: ' if rank else ''}%(message)s",
    )
    logger.setLevel(logging.WARNING if rank else logging.INFO)
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    os.environ.update(
        HF_HUB_OFFLINE="1",
        HF_HUB_DISABLE_PROGRESS_BARS="1",
        HF_HUB_DISABLE_TELEMETRY="1",
        TRANSFORMERS_VERBOSITY="error",
    )


def share_the_cores() -> None:
    """Threads that wait for each other spin for some microseconds only, then sleep.

    A spinning thread holds the core that the one it waits for needs: beside four busy processes on
    two cores a step takes three times as long by default, and alone it takes the same
    (benchmarks/thread_waiting.py). Read by GNU's OpenMP when torch loads.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def leave(code: int) -> NoReturn:
    """End the process at once: all is closed, and to take torch apart again would take seconds."""
    logging.shutdown()
    with contextlib.suppress(OSError):  # the disk of the log is full; the result has told it
        sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        sys.exit("usage: python -m training.trainer RUN_DIR")
    leave(main(Path(sys.argv[1]).resolve()))
