"""The result is the checkpoint whose evaluation was best, where the run wants it so."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.training.trainer import runs
from training.trainer import events
from training.trainer.best import Best
from training.trainer.events import EventLog
from training.trainer.result import Result
from training.trainer.spec import BadSpec, RunSpec, TrainSpec

# Learns for a while, and forgets it again when the learning rate has risen too high.
RISING = {
    "max_steps": 120,
    "learning_rate": 0.6,
    "warmup_steps": 120,
    "checkpoint_interval": 30,
    "save_total_limit": 1,
    "load_best_model_at_end": True,
}
SHARDED = {"cpu_ranks": 2, "strategy": "fsdp"}
EVALUATION = {"interval": 20, "suites": ["exact_match"], "exact_match_rows": 5}


def best_of(run_dir: Path) -> int:
    """By what the run has said."""
    said = runs.said(run_dir, events.EVALUATION)
    losses: dict[int, float] = {line["step"]: line["eval_loss"] for line in said if line["step"]}
    return min(losses, key=losses.__getitem__)


def has_come_to(run_dir: Path, step: int) -> bool:
    return runs.last_step(run_dir) >= step


KINDS: dict[str, dict[str, Any]] = {
    "full": {"train": RISING},
    "full-in-shards": {"train": RISING, "device": SHARDED},
    "lora-in-shards": {
        "method": "lora",
        "train": RISING | {"learning_rate": 30.0},
        "device": SHARDED,
    },
}


@pytest.fixture(scope="module")
def finish(make_run: Callable[..., Path]) -> Callable[[str], Path]:
    @functools.cache
    def of(kind: str) -> Path:
        run_dir = make_run(kind, **KINDS[kind], eval=EVALUATION)
        assert runs.finish(run_dir) == 0, (run_dir / "log.txt").read_text()
        return run_dir

    return of


@pytest.fixture(params=list(KINDS))
def finished(request: pytest.FixtureRequest, finish: Callable[[str], Path]) -> Path:
    return finish(request.param)


def test_the_best_checkpoint_is_the_result(finished: Path) -> None:
    best = best_of(finished)
    assert best < 120, "the run is no test: it never got worse"
    [told] = runs.said(finished, events.BEST)
    [evaluated] = [line for line in runs.said(finished, events.EVALUATION) if line["step"] == best]
    assert told["step"] == best
    assert told["eval_loss"] == pytest.approx(evaluated["eval_loss"], abs=1e-6)
    assert "exact_match" in told
    result = Result.read(finished)
    assert result is not None
    assert result.step == 120
    assert result.evaluation["after"]["eval_loss"] == told["eval_loss"]
    [exported] = (finished / "exports" / "safetensors").glob("*model.safetensors")
    if weights := [*(finished / "checkpoints" / f"step-{best:06d}").glob("*model.safetensors")]:
        assert exported.read_bytes() == weights[0].read_bytes()


def test_it_is_kept_beside_the_newest(finished: Path) -> None:
    left = {path.name for path in (finished / "checkpoints").iterdir()}
    assert left == {f"step-{best_of(finished):06d}", "step-000120"}
    last = runs.said(finished, events.CHECKPOINT)[-1]
    assert last["kept"] == [best_of(finished), 120]


def test_a_run_that_was_killed_finds_the_same(
    make_run: Callable[..., Path], finish: Callable[[str], Path]
) -> None:
    undisturbed, run_dir = finish("full"), make_run("killed", train=RISING, eval=EVALUATION)
    best = best_of(undisturbed)
    for moment in (best + 1, 119):
        with runs.trainer(run_dir) as process:
            runs.wait_until(partial(has_come_to, run_dir, moment), process)
            process.kill()
    with runs.trainer(run_dir) as process:
        runs.wait_until(lambda: bool(runs.said(run_dir, events.BEST)), process)
        process.kill()
    assert runs.finish(run_dir) == 0, (run_dir / "log.txt").read_text()
    assert runs.weights_hash(run_dir) == runs.weights_hash(undisturbed)


def test_the_last_step_is_the_result_where_it_is_the_best(make_run: Callable[..., Path]) -> None:
    train = {"max_steps": 20, "learning_rate": 3e-3, "load_best_model_at_end": True}
    run_dir = make_run("steady", train=train, eval={"interval": 10})
    assert runs.finish(run_dir) == 0, (run_dir / "log.txt").read_text()
    [told] = runs.said(run_dir, events.BEST)
    assert told["step"] == best_of(run_dir) == 20


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, 30),
        ({"metric_for_best_model": "loss"}, 30),
        ({"metric_for_best_model": "eval_token_accuracy"}, 20),
        ({"metric_for_best_model": "token_accuracy", "greater_is_better": False}, 10),
        ({"load_best_model_at_end": False}, None),
    ],
)
def test_which_is_best_depends_on_the_metric(
    tmp_path: Path, wanted: dict[str, Any], expected: int | None
) -> None:
    train = TrainSpec(**{"load_best_model_at_end": True, **wanted})
    told = {
        0: {"eval_loss": 0.1, "eval_token_accuracy": 0.99},  # the base model does not count
        10: {"eval_loss": 3.0, "eval_token_accuracy": 0.5},
        20: {"eval_loss": 2.5, "eval_token_accuracy": 0.8},
        30: {"eval_loss": 2.0, "eval_token_accuracy": 0.7},
        40: {"eval_loss": 2.0, "eval_token_accuracy": 0.7},
    }
    if "greater_is_better" not in wanted:
        told = {5: {"eval_loss": math.nan, "eval_token_accuracy": math.nan}, **told}
    with contextlib.closing(EventLog(tmp_path)) as log:
        found = Best(train, log)
        for step, numbers in told.items():
            found.add(step, numbers)
            log.emit(events.EVALUATION, step=step, **numbers)
        assert found.step == expected
        assert Best(train, log).step == expected


def test_a_metric_that_is_not_measured_is_named_before_the_first_step(
    make_run: Callable[..., Path],
) -> None:
    train = {"load_best_model_at_end": True, "metric_for_best_model": "f1", "max_steps": 20}
    run_dir = make_run("odd", train=train, eval={"interval": 5})
    assert runs.finish(run_dir) == 1
    result = Result.read(run_dir)
    assert result is not None
    assert result.failure is not None
    assert result.failure.kind == "bad_settings"
    assert "there is no eval_f1; an evaluation of this run tells eval_loss" in (
        result.failure.message
    )
    assert not runs.said(run_dir, events.STEP)


@pytest.mark.parametrize(
    ("settings", "missing"),
    [
        ({"eval": {"interval": None}}, "eval.interval"),
        ({"eval": {"interval": 5}, "dataset": {"validation": []}}, "validation rows"),
    ],
)
def test_without_evaluations_there_is_no_best(
    make_run: Callable[..., Path], settings: dict[str, Any], missing: str
) -> None:
    run_dir = make_run("none", train={"load_best_model_at_end": True}, **settings)
    with pytest.raises(BadSpec, match=f"load_best_model_at_end: .*{missing}"):
        RunSpec.read(run_dir)
