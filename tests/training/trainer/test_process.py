"""The process stops when it is told, dies with its parent, and is alone in its directory."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.training.trainer import runs
from training.trainer import __main__ as main
from training.trainer import events
from training.trainer.result import STOPPED, Result
from training.trainer.stopping import Stop, StopRequested

ENDLESS = {"max_steps": 1_000_000, "checkpoint_interval": 1_000_000}


def test_a_stop_before_the_first_step_ends_it_at_once(make_run: Callable[..., Path]) -> None:
    run_dir = make_run("early", train=ENDLESS)
    with runs.trainer(run_dir, cold=True) as process:
        runs.wait_until(lambda: "Loading PyTorch" in (run_dir / "log.txt").read_text(), process)
        asked = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(runs.PATIENCE_S) == 3
    assert time.monotonic() - asked < 2
    result = Result.read(run_dir)
    assert result == Result(outcome=STOPPED)
    assert runs.said(run_dir) == []


def test_it_dies_with_its_parent(make_run: Callable[..., Path]) -> None:
    run_dir = make_run("orphan", train=ENDLESS)
    script = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-m', 'training.trainer', sys.argv[1]])\n"
        "print(child.pid, flush=True)\n"
        "child.wait()\n"
    )
    command = [sys.executable, "-c", script, str(run_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        trainer = psutil.Process(int(parent.stdout.readline()))
        try:
            runs.wait_until(lambda: runs.last_step(run_dir) >= 1, parent)
            parent.kill()
            assert is_gone_soon(trainer)
        finally:
            with contextlib.suppress(psutil.NoSuchProcess):
                trainer.kill()
            parent.kill()
    assert Result.read(run_dir) is None


def is_gone_soon(process: psutil.Process) -> bool:
    """Dead, or a zombie that nobody has collected yet."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.01)
    return False


def test_it_leaves_when_the_parent_is_already_gone(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "training.trainer", str(tmp_path)],
        env={**os.environ, "TRAINYARD_PARENT_PID": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "is gone" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_two_trainers_are_never_at_work_in_one_run_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(main, "LOCK_PATIENCE_S", 0.2)
    first = main.take_lock(tmp_path)
    assert first is not None
    assert main.take_lock(tmp_path) is None
    first.close()
    second = main.take_lock(tmp_path)
    assert second is not None
    second.close()


def test_the_second_trainer_leaves_the_first_ones_files_alone(tmp_path: Path) -> None:
    lock = main.take_lock(tmp_path)
    assert lock is not None
    Result(outcome=STOPPED, step=7).write(tmp_path)
    impatient = "; ".join(
        [
            "import sys, pathlib",
            "from training.trainer import __main__ as m",
            "m.LOCK_PATIENCE_S = 0.2",
            "sys.exit(m.main(pathlib.Path(sys.argv[1])))",
        ]
    )
    done = subprocess.run(
        [sys.executable, "-c", impatient, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    lock.close()
    assert done.returncode == 1
    assert "Another trainer is at work" in done.stderr
    assert Result.read(tmp_path) == Result(outcome=STOPPED, step=7)
    assert not (tmp_path / events.FILE_NAME).exists()


def test_a_stop_that_is_heard_while_the_ranks_agree_is_not_lost() -> None:
    """Which takes much of the time: they wait for each other there."""
    stop = Stop()

    def agree(requested: bool) -> bool:
        stop.requested = True  # as the signal's handler does it
        return requested

    stop.agree = agree
    stop.check()
    with pytest.raises(StopRequested):
        stop.check()


def test_a_stop_waits_where_steps_are_taken() -> None:
    stop = Stop()
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    try:
        stop.listen()
        with stop.deferred():
            stop.check()
            signal.raise_signal(signal.SIGTERM)
            with pytest.raises(StopRequested):
                stop.check()
            stop.requested = False
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])
