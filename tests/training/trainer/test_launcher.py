"""Several processes stop, die and go on as one."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from tests.training.trainer import runs
from training.trainer import events
from training.trainer.result import FAILED, STOPPED, Result

TWO = {"cpu_ranks": 2, "strategy": "zero3"}
LONG = {
    "max_steps": 80,
    "global_batch_size": 8,
    "learning_rate": 3e-3,
    "checkpoint_interval": 15,
}
ENDLESS = LONG | {"max_steps": 1_000_000, "checkpoint_interval": 1_000_000}
LORA = {"r": 8, "lora_alpha": 16, "lora_dropout": 0.1}


def ranks_of(launcher: runs.Process) -> list[psutil.Process]:
    return psutil.Process(launcher.pid).children()


def are_gone_soon(processes: list[psutil.Process], *, within_s: float = 5) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if not any(is_running(process) for process in processes):
            return True
        time.sleep(0.01)
    return False


def is_running(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def settings(method: str, strategy: str) -> dict[str, Any]:
    device = {"cpu_ranks": 2, "strategy": strategy}
    return {"method": method, "train": LONG, "lora": LORA, "device": device}


def test_ranks_die_with_their_launcher_and_go_on_exactly(make_run: Callable[..., Path]) -> None:
    undisturbed = make_run("sharded", **settings("full", "zero3"))
    assert runs.finish(undisturbed) == 0, (undisturbed / "log.txt").read_text()
    run_dir = make_run("sharded-killed", **settings("full", "zero3"))
    moment = random.randint(20, 40)
    with runs.trainer(run_dir) as process:
        runs.wait_until(lambda: runs.last_step(run_dir) >= moment, process)
        ranks = ranks_of(process)
        process.kill()
        assert are_gone_soon(ranks), "ranks outlive their launcher"
    assert Result.read(run_dir) is None
    assert runs.finish(run_dir) == 0, (run_dir / "log.txt").read_text()
    assert_same_end(run_dir, undisturbed, moment)


def test_a_stop_heard_by_one_rank_stops_all_and_they_go_on_exactly(
    make_run: Callable[..., Path],
) -> None:
    """With dropout, so that it repeats only if the random states of all ranks are restored."""
    undisturbed = make_run("replicated", **settings("lora", "ddp"))
    assert runs.finish(undisturbed) == 0, (undisturbed / "log.txt").read_text()
    run_dir = make_run("replicated-stopped", **settings("lora", "ddp"))
    moment = random.randint(16, 26)  # with many steps left: on a busy machine the stop comes late
    with runs.trainer(run_dir) as process:
        runs.wait_until(lambda: len(ranks_of(process)) == 2, process)
        one = ranks_of(process)[1]
        runs.wait_until(lambda: runs.last_step(run_dir) >= moment, process)
        one.terminate()
        assert process.wait(runs.PATIENCE_S) == 3, (run_dir / "log.txt").read_text()
    result = Result.read(run_dir)
    assert result is not None
    assert result.outcome == STOPPED
    assert moment <= result.step == runs.last_step(run_dir)
    assert (run_dir / "checkpoints" / f"step-{result.step:06d}").is_dir()
    assert runs.finish(run_dir) == 0, (run_dir / "log.txt").read_text()
    assert_same_end(run_dir, undisturbed, moment)


def assert_same_end(run_dir: Path, undisturbed: Path, moment: int) -> None:
    assert runs.losses(run_dir) == runs.losses(undisturbed), moment
    assert runs.weights_hash(run_dir) == runs.weights_hash(undisturbed), moment
    lines = runs.said(run_dir)
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    assert not list((run_dir / "checkpoints").glob("*.tmp"))
    assert {path.name for path in run_dir.iterdir()} == {p.name for p in undisturbed.iterdir()}


def test_one_rank_killed_ends_all_of_them_as_if_the_trainer_had_been_killed(
    make_run: Callable[..., Path],
) -> None:
    run_dir = make_run("amputated", train=ENDLESS, device=TWO)
    with runs.trainer(run_dir) as process:
        runs.wait_until(lambda: runs.last_step(run_dir) >= 3, process)
        ranks = ranks_of(process)
        ranks[1].kill()
        assert process.wait(10) == -signal.SIGKILL
        assert are_gone_soon(ranks)
    assert Result.read(run_dir) is None  # who started it reads the signal
    assert "Rank 1 was ended by signal 9" in (run_dir / "log.txt").read_text()


def test_a_stop_before_the_first_step_ends_all_at_once(make_run: Callable[..., Path]) -> None:
    run_dir = make_run("early", train=ENDLESS, device=TWO)
    with runs.trainer(run_dir) as process:
        runs.wait_until(lambda: len(ranks_of(process)) == 2, process)
        ranks = ranks_of(process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 3
        assert not any(is_running(rank) for rank in ranks)
    assert Result.read(run_dir) == Result(outcome=STOPPED)
    assert runs.last_step(run_dir) == 0  # a quick rank may have said what its data is


def test_a_failure_of_the_ranks_is_told_as_that_of_one(
    make_run: Callable[..., Path], tmp_path: Path
) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text('{"text": ""}\n')
    run_dir = make_run("no-rows", dataset={"train": [str(empty)]}, train=LONG, device=TWO)
    assert runs.finish(run_dir) == 1
    result = Result.read(run_dir)
    assert result is not None
    assert result.outcome == FAILED
    assert result.failure is not None
    assert result.failure.kind == "bad_data"


def test_it_also_runs_under_torch_distributed_run(make_run: Callable[..., Path]) -> None:
    run_dir = make_run("torchrun", train=LONG | {"max_steps": 3}, device=TWO)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [sys.executable, *launch, "-m", "training.trainer", str(run_dir)],
        env={**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=runs.PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [line["step"] for line in runs.said(run_dir, events.STEP)] == [1, 2, 3]
