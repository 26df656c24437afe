"""The best checkpoint of a run (`load_best_model_at_end`), by a number of its evaluations.

Which one it is follows from what the run has said, so a run that is killed anywhere finds the same.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.distributed.tensor import DTensor, distribute_tensor

from training.trainer import events
from training.trainer.events import EventLog
from training.trainer.spec import BadSpec, TrainSpec


class Best:
    """The best evaluation so far, the first of equals. The base model (step 0) does not count."""

    def __init__(self, train: TrainSpec, log: EventLog) -> None:
        self.train = train
        self.step: int | None = None
        self._value = 0.0
        for step, value in log.curve(events.EVALUATION, train.best_metric):
            self._compare(step, value)

    def add(self, step: int, numbers: dict[str, float]) -> None:
        """Another evaluation. Raises BadSpec where it does not have the number to go by."""
        metric = self.train.best_metric
        if self.train.load_best_model_at_end and metric not in numbers:
            raise BadSpec(
                f"metric_for_best_model: there is no {metric}; an evaluation of this run tells "
                f"{', '.join(numbers)}"
            )
        if metric in numbers:
            self._compare(step, numbers[metric])

    def _compare(self, step: int, value: float) -> None:
        if not step or not self.train.load_best_model_at_end or not math.isfinite(value):
            return
        better = value > self._value if self.train.greatest_is_best else value < self._value
        if self.step is None or better:
            self.step, self._value = step, value


def take_over(net: nn.Module, loaded: nn.Module) -> None:
    """Give ``net`` the trained weights (and the buffers) of another of its kind, in place: what was
    built around it keeps its hold, and a shard of it stays a shard."""
    source = {**dict(loaded.named_parameters()), **dict(loaded.named_buffers())}
    targets = {name: value for name, value in net.named_parameters() if value.requires_grad}
    with torch.no_grad():
        for name, target in {**targets, **dict(net.named_buffers())}.items():
            value = source[name].to(target.device, target.dtype)
            if isinstance(target, DTensor):
                value = distribute_tensor(value, target.device_mesh, target.placements)
            target.copy_(value)
