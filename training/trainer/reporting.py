"""Trackers that hear of a run too: TensorBoard, MLflow, Weights & Biases (`report_to`).

Each is spoken to by its own library, which reads its own environment variables
(MLFLOW_TRACKING_URI, WANDB_API_KEY, ...). A tracker must never harm the run: a thread of its own
waits for it, and at its first error it is told of once and left alone.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import os
import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from training.trainer import events
from training.trainer.events import EventLog
from training.trainer.spec import BadSpec, RunSpec

logger = logging.getLogger(__name__)

CLOSE_PATIENCE_S = 20.0  # for what has not been sent yet when the run is over
WAITING_LINES = 10_000  # a tracker that is further behind has missed its chance
PROJECT = "trainyard"

Numbers = dict[str, float]


class Tracker(ABC):
    """Called from one thread, in order. Whatever it raises ends it."""

    @abstractmethod
    def log(self, step: int, time: float, numbers: Numbers) -> None:
        """``numbers`` by name, such as train/loss; ``time`` in seconds since the epoch."""

    @abstractmethod
    def close(self, *, completed: bool) -> None:
        """The run is over, or stops for now and may go on later in another process."""


class TensorBoard(Tracker):
    """Files in ``RUN_DIR/tensorboard``."""

    def __init__(self, spec: RunSpec, run_dir: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer: Any = SummaryWriter(str(run_dir / "tensorboard"), flush_secs=10)

    def log(self, step: int, time: float, numbers: Numbers) -> None:
        for name, value in numbers.items():
            self.writer.add_scalar(name, value, step, walltime=time)

    def close(self, *, completed: bool) -> None:
        self.writer.close()


class MLflow(Tracker):
    """A run of the experiment in MLFLOW_EXPERIMENT_NAME. Which one is kept in the run's folder, for
    the process that goes on with it."""

    def __init__(self, spec: RunSpec, run_dir: Path) -> None:
        from mlflow.tracking import MlflowClient

        self.client = MlflowClient()
        memory = run_dir / "mlflow.json"
        if memory.exists():
            self.run_id = json.loads(memory.read_text(encoding="utf-8"))["run_id"]
            self.client.update_run(self.run_id, status="RUNNING")
            return
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        known = self.client.get_experiment_by_name(name)
        experiment = known.experiment_id if known else self.client.create_experiment(name)
        run = self.client.create_run(
            experiment, run_name=spec.name, tags={"trainyard.run_id": spec.run_id}
        )
        self.run_id = run.info.run_id
        memory.write_text(json.dumps({"run_id": self.run_id}), encoding="utf-8")
        for key, value in settings_of(spec).items():
            self.client.log_param(self.run_id, key, value)

    def log(self, step: int, time: float, numbers: Numbers) -> None:
        from mlflow.entities import Metric

        metrics = [Metric(k, v, round(time * 1000), step) for k, v in numbers.items()]
        self.client.log_batch(self.run_id, metrics=metrics)

    def close(self, *, completed: bool) -> None:
        self.client.set_terminated(self.run_id, "FINISHED" if completed else "KILLED")


class WeightsAndBiases(Tracker):
    """A run with the job's own id, in the project of WANDB_PROJECT."""

    def __init__(self, spec: RunSpec, run_dir: Path) -> None:
        import wandb

        self.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            id=spec.run_id,
            name=spec.name,
            config=settings_of(spec),
            dir=str(run_dir),
            resume="allow",
            settings=wandb.Settings(silent=True, console="off"),
        )

    def log(self, step: int, time: float, numbers: Numbers) -> None:
        self.run.log(numbers, step=step)

    def close(self, *, completed: bool) -> None:
        self.run.finish(exit_code=0 if completed else 1)


TRACKERS: dict[str, type[Any]] = {
    "tensorboard": TensorBoard,
    "mlflow": MLflow,
    "wandb": WeightsAndBiases,
}


@contextlib.contextmanager
def attached(spec: RunSpec, run_dir: Path, log: EventLog) -> Iterator[None]:
    """While inside, what is logged is reported too. Raises BadSpec where a library is missing."""
    for name in spec.train.report_to:
        if importlib.util.find_spec(name) is None:
            raise BadSpec(
                f"report_to: the library {name} is not installed where this runs; "
                "pip install -r requirements-reporting.txt"
            )
    if not spec.train.report_to or not log.speaks:
        yield
        return
    lines = [Line(name, spec, run_dir) for name in spec.train.report_to]

    def hear(line: dict[str, Any]) -> None:
        if numbers := reported(line):
            for one in lines:
                one.queue_up(line["step"], line["time"], numbers)
        for one in lines:
            one.own_up(log)

    log.hear = hear
    completed = False
    try:
        yield
        completed = True
    finally:
        log.hear = lambda _line: None
        for one in lines:
            one.close(completed=completed)
            one.own_up(log)


class Line:
    """The line to one tracker: a queue, and the thread that empties it."""

    def __init__(self, name: str, spec: RunSpec, run_dir: Path) -> None:
        self.name = name
        self.spec = spec
        self.run_dir = run_dir
        self.error = ""
        self.has_owned_up = False
        self.completed = False
        self.waiting: queue.Queue[tuple[int, float, Numbers] | None] = queue.Queue(WAITING_LINES)
        self.thread = threading.Thread(target=self._speak, name=f"report to {name}", daemon=True)
        self.thread.start()

    def queue_up(self, step: int, time: float, numbers: Numbers) -> None:
        if self.error:
            return
        try:
            self.waiting.put_nowait((step, time, numbers))
        except queue.Full:
            self.error = f"it is {WAITING_LINES} lines behind"

    def own_up(self, log: EventLog) -> None:
        """Say once that it does not work. For the thread that writes the log."""
        if self.error and not self.has_owned_up:
            self.has_owned_up = True
            logger.info("Nothing more is reported to %s: %s", self.name, self.error)
            log.emit(events.REPORTING_FAILED, kind=self.name, message=self.error)

    def close(self, *, completed: bool) -> None:
        self.completed = completed
        with contextlib.suppress(queue.Full):
            self.waiting.put_nowait(None)
        self.thread.join(CLOSE_PATIENCE_S)
        if self.thread.is_alive() and not self.error:
            self.error = f"it did not take the rest within {CLOSE_PATIENCE_S:.0f} seconds"

    def _speak(self) -> None:
        try:
            tracker = TRACKERS[self.name](self.spec, self.run_dir)
            while (item := self.waiting.get()) is not None:
                tracker.log(*item)
            tracker.close(completed=self.completed)
        except Exception as error:  # whatever it is, the run goes on
            reason = next(iter(str(error).strip().splitlines()), "")
            self.error = f"{type(error).__name__}: {reason}"[:300]


def reported(line: dict[str, Any]) -> Numbers:
    """The numbers of a line of the log under the names that trackers group by, {} for none."""
    group = {events.STEP: "train", events.EVALUATION: "eval"}.get(line["event"])
    if group is None:
        return {}
    return {
        f"{group}/{name.removeprefix('eval_')}": float(value)
        for name, value in line.items()
        if name not in ("seq", "event", "time", "step") and isinstance(value, int | float)
    }


def settings_of(spec: RunSpec) -> dict[str, Any]:
    """What somebody who compares runs wants to see beside the curves."""
    told = spec.as_dict()
    lora = told["lora"] if spec.uses_adapter else {}
    return {
        "method": spec.method,
        "base_model": spec.base_model.name or spec.base_model.path,
        "dataset": spec.dataset.name,
        **{key: value for key, value in told["train"].items() if value is not None},
        **{f"lora.{key}": value for key, value in lora.items()},
    }
