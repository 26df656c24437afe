"""Trackers hear every logged step once, and what goes wrong with them harms nothing."""

from __future__ import annotations

import importlib.util
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.training.trainer import runs
from tests.trainyard.running.instances import wait_for
from training.trainer import events, reporting
from training.trainer.events import EventLog
from training.trainer.spec import BadSpec, RunSpec


def scalars(run_dir: Path, name: str) -> list[tuple[int, float]]:
    """As TensorBoard itself reads them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(run_dir / "tensorboard"))
    found.Reload()
    return [(one.step, one.value) for one in found.Scalars(name)]


def test_tensorboard_shows_each_step_once_also_of_a_run_that_was_stopped(
    make_run: Callable[..., Path],
) -> None:
    train = {"max_steps": 200, "checkpoint_interval": 40, "report_to": ["tensorboard"]}
    run_dir = make_run("tensorboard", train=train)
    with runs.trainer(run_dir) as process:
        runs.wait_until(lambda: runs.last_step(run_dir) >= 60, process)
        process.send_signal(signal.SIGTERM)
        process.wait(runs.PATIENCE_S)
    assert runs.finish(run_dir) == 0, (run_dir / "log.txt").read_text()
    said = [(line["step"], line["loss"]) for line in runs.said(run_dir, events.STEP)]
    assert [step for step, _ in said] == list(range(1, 201))
    shown = scalars(run_dir, "train/loss")
    assert [step for step, _ in shown] == [step for step, _ in said]
    assert [loss for _, loss in shown] == pytest.approx([loss for _, loss in said], rel=1e-6)
    assert [step for step, _ in scalars(run_dir, "eval/loss")] == [0, 200]


@pytest.fixture
def spec(tmp_path: Path) -> RunSpec:
    return RunSpec.from_dict(
        {
            "run_id": "run-1",
            "name": "a run",
            "method": "lora",
            "base_model": {"path": "/models/m", "name": "tiny"},
            "dataset": {"train": ["/data/train.jsonl"]},
            "export_dir": "/exports/1",
            "train": {"learning_rate": 0.25, "report_to": ["wandb"]},
        }
    )


def report(spec: RunSpec, run_dir: Path, steps: range) -> list[dict[str, Any]]:
    """Say so many steps and an evaluation while the trackers listen; the events of the run."""
    log = EventLog(run_dir)
    with reporting.attached(spec, run_dir, log):
        for step in steps:
            log.emit(events.STEP, step=step, loss=1 / step, learning_rate=0.25)
        log.emit(events.EVALUATION, step=steps[-1], eval_loss=0.5, exact_match=0.75)
    log.close()
    return events.follow(run_dir / events.FILE_NAME, 0)[0]


def with_tracker(spec: RunSpec, name: str) -> RunSpec:
    told = json.loads(json.dumps(spec.as_dict()))
    told["train"]["report_to"] = [name]
    return RunSpec.from_dict(told)


def test_mlflow_keeps_one_run_over_restarts(
    spec: RunSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file://{tmp_path}/mlruns")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "sums")
    from mlflow.tracking import MlflowClient

    for steps in (range(1, 4), range(4, 6)):
        assert not [
            line
            for line in report(with_tracker(spec, "mlflow"), tmp_path, steps)
            if line["event"] == events.REPORTING_FAILED
        ]
    client = MlflowClient()
    experiment = client.get_experiment_by_name("sums")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["learning_rate"] == "0.25"
    assert run.data.params["lora.r"] == "16"
    history = client.get_metric_history(run.info.run_id, "train/loss")
    assert [(one.step, one.value) for one in history] == [(s, 1 / s) for s in range(1, 6)]
    assert run.data.metrics["eval/exact_match"] == 0.75


def test_wandb_writes_a_run_of_its_own_kind(
    spec: RunSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    lines = report(spec, tmp_path, range(1, 4))
    assert [line["event"] for line in lines] == [*[events.STEP] * 3, events.EVALUATION]
    (stored,) = (tmp_path / "wandb").glob("offline-run-*-run-1/run-run-1.wandb")
    names = {b"train/loss", b"eval/exact_match", b"learning_rate"}
    # A process of its own writes them, and is not waited for.
    wait_for("the numbers", lambda: all(name in stored.read_bytes() for name in names), 30)


class Deaf(reporting.Tracker):
    """Hears two steps and no more."""

    heard: list[int] = []

    def __init__(self, spec: RunSpec, run_dir: Path) -> None:
        self.heard.clear()

    def log(self, step: int, time: float, numbers: reporting.Numbers) -> None:
        if step > 2:
            raise ConnectionError("nobody there\nat all")
        self.heard.append(step)

    def close(self, *, completed: bool) -> None:
        raise AssertionError("it is not spoken to any more")


def test_a_tracker_that_fails_is_told_of_once_and_left_alone(
    spec: RunSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(reporting.TRACKERS, "wandb", Deaf)
    lines = report(spec, tmp_path, range(1, 50))
    assert Deaf.heard == [1, 2]
    assert len([line for line in lines if line["event"] == events.STEP]) == 49
    (told,) = (line for line in lines if line["event"] == events.REPORTING_FAILED)
    assert (told["kind"], told["message"]) == ("wandb", "ConnectionError: nobody there")


def test_a_server_that_is_not_there_is_told_of_too(
    spec: RunSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    lines = report(with_tracker(spec, "mlflow"), tmp_path, range(1, 4))
    assert len([line for line in lines if line["event"] == events.STEP]) == 3
    (told,) = (line for line in lines if line["event"] == events.REPORTING_FAILED)
    assert told["kind"] == "mlflow"
    assert "127.0.0.1" in told["message"]


def test_a_missing_library_is_told_before_anything_else(
    spec: RunSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    log = EventLog(tmp_path)
    with (
        pytest.raises(BadSpec, match=r"wandb is not installed .* requirements-reporting\.txt"),
        reporting.attached(spec, tmp_path, log),
    ):
        pytest.fail("nothing should be reported")
    log.close()
