"""The batches of every step, made of the rows that `order` gives it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt
import torch

from training.trainer.data.examples import Example, Some, lengths_of
from training.trainer.data.order import Order
from training.trainer.data.packing import unpacked


@dataclass(frozen=True)
class StepBatches:
    """All that one step computes. ``weight``, ``rows`` and ``tokens`` are of the global batch,
    padding not counted; ``batches`` are the micro batches of this process."""

    batches: list[Any]
    weight: int
    rows: int
    tokens: int


@dataclass(frozen=True, kw_only=True)
class Loader:
    """``collate`` makes a batch of examples on ``device``.

    Every rank knows the whole global batch, and takes of its micro batches every ``world_size``-th:
    so all ranks have equally many, of about the same length, and know the weight of all together.
    """

    examples: Sequence[Example]
    collate: Callable[[Sequence[Any], torch.device], Any]
    device: torch.device
    global_batch_size: int
    micro_batch_size: int
    seed: int
    group_by_length: bool = False
    rank: int = 0
    world_size: int = 1
    _ahead: dict[int, Future[StepBatches]] = field(default_factory=dict, init=False, repr=False)

    @functools.cached_property
    def order(self) -> Order:
        return Order(
            rows=len(self.examples),
            batch_size=self.global_batch_size,
            seed=self.seed,
            lengths=lengths_of(self.examples) if self.group_by_length else None,
        )

    def step(self, step: int) -> StepBatches:
        """The batches of one step, counted from 0.

        A GPU finds those of the next step ready. On the CPU that would take the cores that compute.
        """
        if self.device.type == "cpu":
            return self.batches_of(step)
        ready = self._ahead.pop(step, None)
        batches = ready.result() if ready else self.batches_of(step)
        self._ahead.clear()
        self._ahead[step + 1] = self._helper.submit(self.batches_of, step + 1)
        return batches

    @functools.cached_property
    def _helper(self) -> ThreadPoolExecutor:
        def begin() -> None:
            if self.device.type == "cuda":  # memory is pinned for the device of the thread
                torch.cuda.set_device(self.device)

        return ThreadPoolExecutor(1, initializer=begin)

    def batches_of(self, step: int) -> StepBatches:
        size = self.micro_batch_size
        rows = [self.examples[index] for index in self.order.of_step(step)]
        if size < len(rows):
            rows.sort(key=lambda row: row.length)  # the same step with less padding
        return StepBatches(
            batches=[
                self.collate(unpacked(rows[start : start + size]), self.device)
                for start in range(0, len(rows), size)[self.rank :: self.world_size]
            ],
            weight=sum(row.weight for row in rows),
            rows=len(rows),
            tokens=sum(row.length for row in rows),
        )

    def taken(self, steps: int) -> Sequence[Any]:
        """The rows that the first ``steps`` steps take, each once, in the order of the dataset."""
        if steps * self.global_batch_size >= len(self.examples):
            return self.examples
        chosen = [self.order.of_step(step) for step in range(steps)]
        return Some(self.examples, sorted(set().union(*chosen)))


def to_device(array: npt.NDArray[Any], device: torch.device) -> torch.Tensor:
    """Without waiting for it."""
    tensor = torch.from_numpy(array)
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
