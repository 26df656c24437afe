"""Starts a trainer, follows its events, stops it, and says how it ended.

`run` works inside a Celery task for as long as the training lasts. It may be killed at any moment:
the trainer dies with it (parent-death signal), and the job is taken up again from the database and
the last checkpoint.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection

from registry.files import BadPath
from training import file_checks, outcome, run_plan
from training.lifecycle import IllegalMove
from training.models import Device, Job, Status
from training.progress import Fenced, take_over
from training.standby import keeper, trainer_environment
from training.trainer import events, result
from training.trainer.spec import BadSpec

log = logging.getLogger(__name__)

COMMAND = [sys.executable, "-m", "training.trainer"]
POLL_SECONDS = 0.2
HEARTBEAT_SECONDS = 1.0
# Steps whose times tell the speed, and so the time still to come.
SPEED_WINDOW_STEPS = 30
# For so many steps a run may be quiet, if that is longer than TRAINYARD_STALL_SECONDS.
STALL_STEPS = 20
LAST_WORDS_SECONDS = 2.0
KERNEL_COUNTERS = ("/proc/vmstat", "/sys/fs/cgroup/memory.events")  # this machine's, a container's


@dataclass
class Trainer:
    """One trainer process and how far its events have been read. ``began`` on the clock that its
    lines tell the time by."""

    process: subprocess.Popen[bytes]
    run_dir: Path
    began: float = field(default_factory=time.time)
    offset: int = 0
    asked_to_stop_at: float | None = None
    # Its last sign of life, as it told it, and from when on to miss the next one (on our own clock,
    # which does not jump).
    sign: float = 0.0
    missed_from: float = field(default_factory=time.monotonic)
    seconds_of_a_step: float | None = None
    step_times: deque[tuple[int, float]] = field(
        default_factory=lambda: deque(maxlen=SPEED_WINDOW_STEPS)
    )

    def new_lines(self) -> list[dict[str, Any]]:
        lines, self.offset = events.follow(self.run_dir / events.FILE_NAME, self.offset)
        return lines

    def quiet_seconds(self) -> float:
        """For how long a sign of life has been missing."""
        sign = events.sign_of_life(self.run_dir)
        if sign != self.sign:
            self.sign = sign
            self.missed_from = time.monotonic() + max(0.0, sign - time.time())
        return time.monotonic() - self.missed_from

    def is_stuck(self) -> bool:
        slow = STALL_STEPS * (self.seconds_of_a_step or 0.0)
        return self.quiet_seconds() > max(settings.TRAINYARD_STALL_SECONDS, slow)

    def show_stacks(self) -> None:
        """Have every process of the run write into its log what each of its threads is doing."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGUSR1)
        time.sleep(LAST_WORDS_SECONDS)

    def step_seconds(self, lines: list[dict[str, Any]]) -> float | None:
        """Seconds a step takes of late; None until two steps of this attempt are known. The lines
        of earlier attempts come again, and between them and now lies a pause."""
        self.step_times.extend(
            (line["step"], line["time"])
            for line in lines
            if line["event"] == events.STEP and line["time"] >= self.began
        )
        if len(self.step_times) < 2:
            return None
        (first, began), (last, ended) = self.step_times[0], self.step_times[-1]
        if last > first and ended > began:
            self.seconds_of_a_step = (ended - began) / (last - first)
        return self.seconds_of_a_step

    def stop(self) -> None:
        """Ask once; after TRAINYARD_STOP_SECONDS do not ask any more."""
        if self.asked_to_stop_at is None:
            self.asked_to_stop_at = time.monotonic()
            self.process.terminate()
        elif time.monotonic() - self.asked_to_stop_at > settings.TRAINYARD_STOP_SECONDS:
            self.kill()

    def kill(self) -> None:
        """The whole process group, so that no child of the trainer is left either."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def run(job: Job, attempt: int, going_down: Callable[[], bool]) -> str:
    """Train until the end. Returns how it ended, for the task's result.

    ``going_down`` says whether the worker has been asked to stop: the run then stops with a
    checkpoint and is queued again.
    """
    try:
        if refusal := file_checks.refusal(job, attempt, going_down):
            outcome.failed(job, attempt, refusal)
            return "failed"
    except file_checks.Interrupted:
        outcome.stopped(job, attempt)
        return job.status.lower()
    except (Fenced, IllegalMove) as error:
        log.warning("job %s, attempt %s, is not ours any more: %s", job.pk, attempt, error)
        return "fenced"
    try:
        run_dir = run_plan.write(job)
    except (BadPath, BadSpec) as error:
        outcome.failed(job, attempt, _cannot_start(error))
        return "failed"
    kills_before = _out_of_memory_kills()
    trainer = _start(job, run_dir)
    try:
        if _follow(job, attempt, trainer, going_down):
            ending = result.Result.read(run_dir)
            _finish(job, attempt, ending, trainer.process.returncode, run_dir, kills_before)
        else:
            _end_stuck(job, attempt, trainer)
    except (Fenced, IllegalMove) as error:
        log.warning("job %s, attempt %s, is not ours any more: %s", job.pk, attempt, error)
        return "fenced"
    finally:
        trainer.kill()
        trainer.process.wait()
    return job.status.lower()


def _start(job: Job, run_dir: Path) -> Trainer:
    (run_dir / result.FILE_NAME).unlink(missing_ok=True)
    with open(run_dir / "log.txt", "ab") as log_file:
        environment = _environment(job)
        process = keeper.take(run_dir, environment) or subprocess.Popen(
            [*COMMAND, str(run_dir)],
            stdin=subprocess.DEVNULL,
            stdout=log_file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=run_dir,
            env=environment,
        )
    Job.objects.filter(pk=job.pk).update(runner_pid=os.getpid())
    return Trainer(process, run_dir)


def _environment(job: Job) -> dict[str, str]:
    cards = Device.objects.filter(lease__job=job, kind=Device.Kind.CUDA).order_by("index")
    visible = ",".join(card.visible_as for card in cards)
    return {**trainer_environment(), "CUDA_VISIBLE_DEVICES": visible}


def _follow(job: Job, attempt: int, trainer: Trainer, going_down: Callable[[], bool]) -> bool:
    """Until the trainer has ended and all it said is in the database: True; or until it has shown
    no sign of life for too long: False. Raises Fenced.

    A database that does not answer for a while does not stop the training: the lines stay in the
    file, and are read again from where the last successful batch ended.
    """
    heard_at = 0.0
    while True:
        has_ended = trainer.process.poll() is not None
        try:
            offset = trainer.offset
            lines = trainer.new_lines()
            if lines or time.monotonic() - heard_at > HEARTBEAT_SECONDS:
                take_over(job, attempt, lines, trainer.step_seconds(lines))
                heard_at = time.monotonic()
            if going_down() or _wanted_to_stop(job):
                trainer.stop()
            elif not has_ended and trainer.is_stuck():
                return False
        except (DatabaseError, InterfaceError) as error:
            log.warning("job %s: the database does not answer (%s)", job.pk, error)
            trainer.offset = offset
            connection.close()
            has_ended = False
            time.sleep(HEARTBEAT_SECONDS)
        if has_ended:
            return True
        time.sleep(POLL_SECONDS)


def _end_stuck(job: Job, attempt: int, trainer: Trainer) -> None:
    quiet = trainer.quiet_seconds()
    trainer.show_stacks()
    trainer.kill()
    why = (
        f"The training stood still: no sign of life for {quiet:.0f} s. Its log tells what it was "
        "doing; it goes on from its last checkpoint."
    )
    outcome.lost(job, attempt, why, kind="stalled", event="stalled")
    job.refresh_from_db()


def _wanted_to_stop(job: Job) -> bool:
    status, cancelled_at = Job.objects.values_list("status", "cancel_requested_at").get(pk=job.pk)
    return cancelled_at is not None or status == Status.PAUSING


def _finish(
    job: Job,
    attempt: int,
    ending: result.Result | None,
    returncode: int,
    run_dir: Path,
    kills_before: int,
) -> None:
    job.refresh_from_db()
    stop_wanted = job.cancel_requested_at is not None or job.status == Status.PAUSING
    if ending is not None and ending.outcome == result.COMPLETED:
        outcome.completed(job, attempt, ending)
    elif ending is not None and ending.outcome == result.FAILED:
        assert ending.failure is not None
        outcome.failed(job, attempt, ending.failure)
    elif ending is not None or (stop_wanted and returncode < 0):
        outcome.stopped(job, attempt)
    elif returncode == -signal.SIGKILL and _out_of_memory_kills() > kills_before:
        outcome.failed(job, attempt, OUT_OF_HOST_MEMORY)
    elif returncode in (-signal.SIGKILL, -signal.SIGTERM):
        outcome.lost(job, attempt, f"The trainer was ended by signal {-returncode}.")
    else:
        outcome.failed(job, attempt, _crash(returncode, run_dir))


def _cannot_start(error: BadPath | BadSpec) -> result.Failure:
    if isinstance(error, BadPath):
        return result.Failure(
            kind="bad_data",
            message=f"The dataset's files cannot be read: {error}",
            advice="Put the files back, or check the dataset again, and retry the job.",
        )
    return result.Failure(
        kind="bad_settings",
        message=f"The trainer cannot work with these settings: {error}.",
        advice="Clone the job and change the setting that is named.",
    )


OUT_OF_HOST_MEMORY = result.Failure(
    kind="host_memory",
    message="The operating system ended the trainer because the machine ran out of memory.",
    advice="Use a smaller global_batch_size with more grad_accum, a shorter max_length, or a "
    "machine with more memory.",
)


def _crash(returncode: int, run_dir: Path) -> result.Failure:
    how = f"signal {-returncode}" if returncode < 0 else f"exit status {returncode}"
    return result.Failure(
        kind="bug",
        message=f"The trainer crashed ({how}). Its last words: {_last_line(run_dir)}",
        advice="The whole log is on the job's page. If it happens again, report it with the log.",
    )


def _last_line(run_dir: Path) -> str:
    with open(run_dir / "log.txt", "rb") as file:
        file.seek(max(file.seek(0, os.SEEK_END) - 4096, 0))
        lines = file.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1][:300] if lines else "none"


def _out_of_memory_kills() -> int:
    """How often this kernel (or this container's) has killed a process to get memory back."""
    count = 0
    for path in KERNEL_COUNTERS:
        try:
            lines = Path(path).read_text(encoding="ascii").splitlines()
        except OSError:
            continue
        count += sum(int(line.split()[1]) for line in lines if line.split()[0] == "oom_kill")
    return count
