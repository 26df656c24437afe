"""A few real steps, to measure what a run would take; nothing of them is kept.

The longest rows come first, for the memory, then the rows that the run would begin with, for the
time. Whoever starts a probe sees to it that the run does not help itself out of a lack of memory
(`auto_find_batch_size`): to run out is what it is to find out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from training.trainer import events, result
from training.trainer.data.examples import Example, Joined, Some, lengths_of
from training.trainer.data.loader import Loader
from training.trainer.evaluate import HeldOut
from training.trainer.meter import Taken, peak_memory_bytes
from training.trainer.result import Result

if TYPE_CHECKING:
    from training.trainer.loop import Run

# The optimizer's states are made in the first; in the second all is there at the same time.
LONGEST_STEPS = 2

TakeStep = Callable[["Run", int, float], Taken]


@dataclass(frozen=True)
class Probe:
    """The rows that are looked at."""

    longest: Sequence[Any]
    ordinary: Sequence[Any]
    held_out: Sequence[Any]

    @classmethod
    def of(cls, run: Run, held_out_rows: Sequence[Any], batch_size: int) -> Probe:
        examples, train = run.loader.examples, run.spec.train
        steps = range(run.spec.probe_steps)
        return cls(
            longest=_longest(examples, train.global_batch_size),
            ordinary=Some(
                examples, [index for step in steps for index in run.loader.order.of_step(step)]
            ),
            held_out=_longest(held_out_rows, batch_size),
        )

    @property
    def rows(self) -> Sequence[Any]:
        return Joined(self.longest, self.ordinary, self.held_out)

    def measure(self, run: Run, held_out: HeldOut, take_step: TakeStep) -> Result:
        """Raises StopRequested, and what torch raises where memory runs out."""
        if len(self.held_out):
            replace(held_out, rows=self.held_out).measure(0, suites=False)
        *_, longest = _timed(run, self.longest, LONGEST_STEPS, take_step)
        took = _timed(run, self.ordinary, run.spec.probe_steps, take_step)
        seconds = median(one.seconds for one in took)
        run.ranks.leave()
        if run.ranks.is_first:
            rows = run.spec.train.global_batch_size
            tokens = int(lengths_of(self.ordinary).sum())
            run.log.emit(
                events.MEASURED,
                steps=LONGEST_STEPS + run.spec.probe_steps,
                peak_memory_mb=round(peak_memory_bytes(run.device) / 2**20, 1),
                step_seconds=round(seconds, 6),
                step_cpu_seconds=round(median(one.cpu_seconds for one in took), 6),
                longest_step_seconds=round(longest.seconds, 6),
                longest_tokens=int(lengths_of(self.longest).max()),
                samples_per_s=round(rows / seconds, 4),
                tokens_per_s=round(tokens / len(self.ordinary) * rows / seconds, 1),
            )
            run.log.sync()
        return Result(outcome=result.COMPLETED, step=LONGEST_STEPS + run.spec.probe_steps)


def _longest(rows: Sequence[Any], count: int) -> Sequence[Any]:
    order = np.argsort(-lengths_of(rows), kind="stable")
    return Some(rows, order[:count].tolist())


class Took(NamedTuple):
    """Of one step: by the clock, and of all cores together. Where others use the same cores too,
    the clock tells of them as well."""

    seconds: float
    cpu_seconds: float


def _timed(run: Run, rows: Sequence[Example], steps: int, take_step: TakeStep) -> list[Took]:
    """Each step over these rows, until the device is done with it."""
    loader: Loader = replace(run.loader, examples=rows)
    over_these = replace(run, loader=loader)
    took = []
    for step in range(steps):
        run.stop.check()
        began, cpu_began = time.perf_counter(), time.process_time()
        taken = take_step(over_these, step, run.spec.train.learning_rate)
        taken.loss.item()  # waits for the device
        took.append(Took(time.perf_counter() - began, time.process_time() - cpu_began))
    return took
