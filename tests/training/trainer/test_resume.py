"""Killed or stopped at any moment and started again, a run ends as if nothing had happened."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.training.trainer import conftest, runs, tiny
from training.trainer import events
from training.trainer.result import STOPPED, Result


@dataclass
class Battered:
    """A run that was disturbed again and again, and what was seen meanwhile."""

    run_dir: Path
    kills: list[int]
    stopped_exit_code: int
    stopped_after_s: float
    stopped_result: Result
    checkpoints_when_stopped: list[str]


@pytest.fixture(scope="module")
def battered(long_full_run: Callable[[str], Path]) -> Battered:
    run_dir = long_full_run("battered")
    checkpoints = run_dir / "checkpoints"
    kills = []

    # Killed while it writes a checkpoint, or close to it.
    with runs.trainer(run_dir) as process:
        runs.wait_until(lambda: any(checkpoints.glob("*.tmp")), process)
        process.kill()
    kills.append(runs.last_step(run_dir))

    # Killed at a random step, and both files cut short as a crash of the machine would.
    moment = random.randint(60, 110)
    with runs.trainer(run_dir) as process:
        runs.wait_until(lambda: runs.last_step(run_dir) >= moment, process)
        process.kill()
    kills.append(runs.last_step(run_dir))
    with open(run_dir / events.FILE_NAME, "ab") as log:
        log.write(b'{"seq": 4711, "event": "st')
    leftover = checkpoints / "step-000230.tmp"
    leftover.mkdir()
    (leftover / "trainer_state.pt").write_bytes(b"half")

    # Stopped at a random step.
    moment = random.randint(125, 155)
    with runs.trainer(run_dir) as process:
        runs.wait_until(lambda: runs.last_step(run_dir) >= moment, process)
        asked = time.monotonic()
        process.send_signal(signal.SIGTERM)
        exit_code = process.wait(runs.PATIENCE_S)
        stopped_after_s = time.monotonic() - asked
    result = Result.read(run_dir)
    assert result is not None
    left = [path.name for path in checkpoints.iterdir()]

    # Killed at the end, when the last step is done but not yet exported.
    with runs.trainer(run_dir) as process:
        runs.wait_until(lambda: runs.last_step(run_dir) >= 240, process)
        process.kill()
    kills.append(runs.last_step(run_dir))

    assert runs.finish(run_dir) == 0, (run_dir / "log.txt").read_text()
    return Battered(run_dir, kills, exit_code, stopped_after_s, result, left)


def test_the_weights_are_those_of_an_undisturbed_run(battered: Battered, full_run: Path) -> None:
    assert runs.weights_hash(battered.run_dir) == runs.weights_hash(full_run), battered.kills


def test_the_losses_are_those_of_an_undisturbed_run(battered: Battered, full_run: Path) -> None:
    assert runs.losses(battered.run_dir) == runs.losses(full_run), battered.kills


def test_no_event_is_missing_or_doubled(battered: Battered, full_run: Path) -> None:
    lines = runs.said(battered.run_dir)
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    found = [events.identity(line) for line in lines]
    assert len(found) == len(set(found))
    extra = (events.CHECKPOINT, battered.stopped_result.step)  # the one a stop leaves
    assert {*found} - {extra} == {events.identity(line) for line in runs.said(full_run)} - {extra}


def test_evaluation_numbers_survive(battered: Battered, full_run: Path) -> None:
    results = [Result.read(run_dir) for run_dir in (battered.run_dir, full_run)]
    assert results[0] is not None
    assert results[1] is not None
    assert results[0].evaluation == results[1].evaluation
    assert results[0].evaluation["before"].keys() == results[0].evaluation["after"].keys()


def test_a_stop_comes_soon_and_leaves_a_checkpoint(battered: Battered) -> None:
    assert battered.stopped_exit_code == 3
    assert battered.stopped_after_s < 3
    assert battered.stopped_result.outcome == STOPPED
    assert battered.stopped_result.step >= 125
    assert f"step-{battered.stopped_result.step:06d}" in battered.checkpoints_when_stopped


def test_what_a_killed_process_left_half_written_is_gone(battered: Battered) -> None:
    left = {path.name for path in (battered.run_dir / "checkpoints").iterdir()}
    assert "step-000240" in left
    assert not any(name.endswith(".tmp") for name in left)


def test_an_adapter_with_dropout_goes_on_exactly(
    lora_run: Path, long_lora_run: Callable[[str], Path]
) -> None:
    run_dir = long_lora_run("stopped")
    moment = random.randint(45, 90)
    with runs.trainer(run_dir) as process:
        runs.wait_until(lambda: runs.last_step(run_dir) >= moment, process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(runs.PATIENCE_S) == 3
    assert runs.finish(run_dir) == 0, (run_dir / "log.txt").read_text()
    assert runs.losses(run_dir) == runs.losses(lora_run), moment
    assert runs.weights_hash(run_dir) == runs.weights_hash(lora_run), moment


def test_states_in_eight_bits_learn_and_go_on_exactly(make_run: Callable[..., Path]) -> None:
    train = conftest.LONG | {"optim": "adamw_8bit", "max_steps": 60}
    undisturbed, stopped = (make_run(name, train=train) for name in ("undisturbed", "stopped"))
    assert runs.finish(undisturbed) == 0, (undisturbed / "log.txt").read_text()
    with runs.trainer(stopped) as process:
        runs.wait_until(lambda: runs.last_step(stopped) >= 25, process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(runs.PATIENCE_S) == 3
    assert runs.finish(stopped) == 0, (stopped / "log.txt").read_text()
    assert runs.losses(stopped) == runs.losses(undisturbed)
    assert runs.weights_hash(stopped) == runs.weights_hash(undisturbed)
    assert runs.losses(undisturbed)[60] < runs.losses(undisturbed)[1] / 2


@pytest.fixture(scope="module")
def of_all_lengths(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [{"prompt": f"{i} plus", "completion": " is" * (i % 17 + 1)} for i in range(90)]
    return tiny.write_rows(tmp_path_factory.mktemp("lengths") / "train.jsonl", rows)


@pytest.mark.parametrize(
    "how",
    [{"group_by_length": True}, {"packing": True}, {"group_by_length": True, "packing": True}],
    ids=" ".join,
)
def test_however_rows_come_together_a_run_goes_on_exactly(
    make_run: Callable[..., Path], of_all_lengths: Path, how: dict[str, bool]
) -> None:
    """Through several epochs, killed in one and stopped in another."""
    batch = 2 if "packing" in how else 8
    train = {"max_steps": 50, "checkpoint_interval": 15, "learning_rate": 3e-3, "max_length": 64}
    settings = {
        "dataset": {"train": [str(of_all_lengths)], "validation": []},
        "train": {**train, "global_batch_size": batch, "grad_accum": 2, **how},
    }
    undisturbed, run_dir = (make_run(name, **settings) for name in ("undisturbed", "disturbed"))
    assert runs.finish(undisturbed) == 0, (undisturbed / "log.txt").read_text()
    assert len({line["tokens"] for line in runs.said(undisturbed, events.STEP)}) > 5
    moments = random.randint(16, 29), random.randint(31, 44)
    for moment, number in zip(moments, (signal.SIGKILL, signal.SIGTERM), strict=True):
        with runs.trainer(run_dir) as process:
            runs.wait_until(partial(has_come_to, run_dir, moment), process)
            process.send_signal(number)
            process.wait(runs.PATIENCE_S)
    assert runs.finish(run_dir) == 0, (run_dir / "log.txt").read_text()
    assert runs.losses(run_dir) == runs.losses(undisturbed), moments
    assert runs.weights_hash(run_dir) == runs.weights_hash(undisturbed), moments


def has_come_to(run_dir: Path, step: int) -> bool:
    return runs.last_step(run_dir) >= step


def test_a_finished_run_started_again_changes_nothing(battered: Battered, full_run: Path) -> None:
    before = runs.said(battered.run_dir)
    assert runs.finish(battered.run_dir) == 0
    assert runs.said(battered.run_dir) == before
    assert runs.weights_hash(battered.run_dir) == runs.weights_hash(full_run)
