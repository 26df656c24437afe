"""Memory, time and disk of one experiment, put together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from training.preflight import exports
from training.preflight.calibration import PUBLISHED, Calibration
from training.preflight.duration import Duration, duration_of
from training.preflight.facts import Experiment
from training.preflight.hardware import MIB, Card, card_for
from training.preflight.host import HostMemory, host_memory
from training.preflight.memory import MemoryEstimate, estimate_memory
from training.preflight.resident import with_process
from training.preflight.shape import Shape, shape_of
from training.preflight.speed import SpeedEstimate, checkpoint_bytes, estimate_speed


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """``headroom_mb`` is what stays free, negative where it does not fit; it and ``fits`` are
    None where the memory of the device is not known, ``duration`` where the steps are not.

    What a search for something that fits does not ask for is worked out when somebody does.
    """

    experiment: Experiment
    calibration: Calibration
    shape: Shape
    card: Card
    memory: MemoryEstimate
    speed: SpeedEstimate

    @cached_property
    def duration(self) -> Duration | None:
        return duration_of(
            self.experiment, self.shape, self.card, self.memory, self.speed, self.calibration
        )

    @cached_property
    def host(self) -> HostMemory:
        return host_memory(self.experiment, self.shape, self.memory)

    @cached_property
    def exports_bytes(self) -> int:
        return exports.disk_bytes(self.experiment, self.shape, self.memory)

    @cached_property
    def disk_required_mb(self) -> int:
        """Checkpoints at their most, which is one more than are kept, as a new one is complete
        before the oldest goes; the best one beside them, where it is wanted; and the exports."""
        train, steps = self.experiment.train, self.experiment.steps
        made = math.inf if steps is None else steps // max(train.checkpoint_interval, 1) + 1
        at_once = int(min(train.save_total_limit + 1, made)) + train.load_best_model_at_end
        checkpoint = checkpoint_bytes(self.experiment, self.memory)
        return math.ceil((at_once * checkpoint + self.exports_bytes) / MIB)

    @property
    def capacity_mb(self) -> int | None:
        return None if self.card.memory_bytes is None else self.card.memory_bytes // MIB

    @property
    def headroom_mb(self) -> int | None:
        return None if self.capacity_mb is None else self.capacity_mb - self.memory.total_mb

    @property
    def fits(self) -> bool | None:
        return None if self.headroom_mb is None else self.headroom_mb >= 0


def estimate(
    experiment: Experiment, calibration: Calibration = PUBLISHED, shape: Shape | None = None
) -> Estimate | None:
    """None where nothing is known of the model's size. ``shape`` is that of the model, where it
    has been worked out already.

    Takes settings within the ranges of ``limits``; it raises for no other fact, however odd.
    """
    shape = shape or shape_of(experiment.model)
    if shape is None:
        return None
    card = card_for(experiment.resources)
    memory = estimate_memory(experiment, shape, card, calibration)
    memory = with_process(memory, experiment, shape, card, calibration)
    speed = estimate_speed(experiment, shape, card, memory, calibration)
    return Estimate(
        experiment=experiment,
        calibration=calibration,
        shape=shape,
        card=card,
        memory=memory,
        speed=speed,
    )
