"""A trainer that was ready before its run came does what one that is started for it would do."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.training.trainer import runs
from tests.training.trainer.test_process import is_gone_soon
from training.trainer import events, standby


@contextlib.contextmanager
def ready(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A standby that has loaded everything, in another folder and with another environment."""
    root = Path(__file__).resolve().parents[3]
    environment = {**os.environ, "PYTHONPATH": str(root), "TRAINYARD_PARENT_PID": str(os.getpid())}
    command = [sys.executable, "-m", "training.trainer.standby"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder, env=environment
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == standby.READY
            yield process
        finally:
            process.kill()


def order(process: subprocess.Popen[bytes], run_dir: Path) -> None:
    assert process.stdin is not None
    environment = {**os.environ, "TRAINYARD_PARENT_PID": str(os.getpid()), "ONLY_THIS_RUN": "1"}
    line = {"run_dir": str(run_dir), "environment": environment}
    process.stdin.write(json.dumps(line).encode() + b"\n")
    process.stdin.close()


def test_the_result_is_that_of_a_cold_start(
    long_full_run: Callable[[str], Path], full_run: Path, tmp_path: Path
) -> None:
    run_dir = long_full_run("warm")
    with ready(tmp_path) as process:
        found = psutil.Process(process.pid)
        assert list(tmp_path.iterdir()) == []
        order(process, run_dir)
        runs.wait_until(lambda: runs.last_step(run_dir) >= 1, process)
        assert found.cwd() == str(run_dir)
        assert process.wait(runs.PATIENCE_S) == 0
        assert process.stdout is not None
        assert process.stdout.read() == b""  # from then on all it says is in the run's log
    assert runs.weights_hash(run_dir) == runs.weights_hash(full_run)
    assert runs.losses(run_dir) == runs.losses(full_run)
    assert "The run is over: completed at step 240." in (run_dir / "log.txt").read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="priorities and scores as Linux has them")
def test_it_waits_in_nobodys_way_and_trains_as_any_other(
    make_run: Callable[..., Path], tmp_path: Path
) -> None:
    endless = {"max_steps": 1_000_000, "checkpoint_interval": 1_000_000}
    run_dir = make_run("warm-endless", train=endless)
    with ready(tmp_path) as process:
        score = Path(f"/proc/{process.pid}/oom_score_adj")
        assert score.read_text() == "1000\n"  # when memory runs out it is the first to go
        threads = [int(path.name) for path in Path(f"/proc/{process.pid}/task").iterdir()]
        ours = os.getpriority(os.PRIO_PROCESS, 0)
        assert os.getpriority(os.PRIO_PROCESS, process.pid) == ours
        priorities = set()
        for thread in threads:
            with contextlib.suppress(ProcessLookupError):  # one that has ended since it was listed
                priorities.add(os.getpriority(os.PRIO_PROCESS, thread))
        assert priorities - {ours} <= {standby.LOWEST_PRIORITY}
        order(process, run_dir)
        runs.wait_until(lambda: runs.last_step(run_dir) >= 1, process)
        assert score.read_text() == Path("/proc/self/oom_score_adj").read_text()
        process.send_signal(signal.SIGTERM)
        assert process.wait(runs.PATIENCE_S) == 3
    [saved] = runs.said(run_dir, events.CHECKPOINT)
    assert saved["step"] == runs.last_step(run_dir)


def test_it_goes_when_no_run_will_come(tmp_path: Path) -> None:
    with ready(tmp_path) as process:
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(10) == 0


def test_it_dies_with_who_keeps_it(tmp_path: Path) -> None:
    script = (
        "import os, subprocess, sys\n"
        "os.environ['TRAINYARD_PARENT_PID'] = str(os.getpid())\n"
        "child = subprocess.Popen([sys.executable, '-m', 'training.trainer.standby'],\n"
        "                         stdin=subprocess.PIPE)\n"
        "print(child.pid, flush=True)\n"
        "child.wait()\n"
    )
    keeper = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    with keeper:
        assert keeper.stdout is not None
        kept = psutil.Process(int(keeper.stdout.readline()))
        keeper.kill()
        assert is_gone_soon(kept)
