"""What of the model one of several GPUs holds: `training.trainer.sharding`, in bytes."""

from __future__ import annotations

from dataclasses import dataclass

from training.preflight.facts import Experiment
from training.preflight.shape import Shape

LAYERS_AT_ONCE = 2  # zero3 gathers the next layer while this one computes


@dataclass(frozen=True, kw_only=True)
class Shares:
    """Bytes on each GPU. ``weights`` while a layer computes, ``weights_at_head`` while the last one
    does, ``resting_weights`` at the optimizer's step; ``waiting`` are gradients of earlier micro
    batches, ``gradients`` all at the end of the backward pass, ``resting_gradients`` what the
    optimizer sees, ``kept_gradients`` what of them stays from step to step. ``parts``: how many
    GPUs share the optimizer's states."""

    parts: int
    weights: int
    weights_at_head: int
    resting_weights: int
    waiting: int
    gradients: int
    resting_gradients: int
    kept_gradients: int = 0


def shares(
    experiment: Experiment,
    shape: Shape,
    *,
    weights: int,
    outside: int,
    gradients: int,
    gathered_bytes: float = 1.0,
) -> Shares:
    """``weights`` and ``gradients`` are those of the whole model, ``outside`` the weights that are
    in none of its layers: embeddings, norms and head, which stay gathered in every strategy.
    ``gathered_bytes`` is what a byte of them takes once it is gathered: one half where float32
    weights travel in 16 bits."""
    gpus, strategy = max(experiment.resources.gpus, 1), experiment.resources.strategy
    accumulates = experiment.train.grad_accum > 1
    if gpus == 1 or strategy not in ("zero1", "zero2", "zero3", "fsdp"):
        return Shares(
            parts=1,
            weights=weights,
            weights_at_head=weights,
            resting_weights=weights,
            # DistributedDataParallel's buckets are the gradients, and stay from step to step.
            waiting=gradients if accumulates or gpus > 1 else 0,
            gradients=gradients,
            resting_gradients=gradients,
            kept_gradients=gradients if gpus > 1 else 0,
        )
    part = -(-weights // gpus)
    part_of_gradients = -(-gradients // gpus)
    layers = max(shape.num_layers, 1)
    gathered = at_head = round(weights * gathered_bytes)
    if strategy in ("zero3", "fsdp"):
        at_once = min(1 if experiment.stack.fsdp1 else LAYERS_AT_ONCE, layers)
        root = round(outside * gathered_bytes)
        gathered = root + round((weights - outside) * gathered_bytes) * at_once // layers
        at_head = root if experiment.stack.fsdp1 else gathered
    keeps_whole_gradients = strategy == "zero1" and accumulates
    largest_unit = max(gradients // layers, min(outside, gradients))
    largest_unit = round(largest_unit * gathered_bytes)
    return Shares(
        parts=gpus,
        weights=part + gathered,
        weights_at_head=part + at_head,
        resting_weights=part,
        waiting=(gradients if keeps_whole_gradients else part_of_gradients) if accumulates else 0,
        gradients=part_of_gradients + (gradients if keeps_whole_gradients else largest_unit),
        resting_gradients=part_of_gradients,
    )
