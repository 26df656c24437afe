"""What optimizers keep for each trained weight, and need while they go over all of them."""

from __future__ import annotations

from dataclasses import dataclass

from training.preflight.facts import Experiment
from training.preflight.hardware import Card
from training.preflight.shape import Shape

# What DeepSpeed sums gradients in, where they come while others travel: two buckets of 2e8 numbers
# in 16 bits (the ds_config_zero2.json that comes with Qwen's script).
DEEPSPEED_BUCKETS = 2 * 2 * 200_000_000


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """For each trained weight: states of the weight's own type, bytes of states of another (of
    embeddings others, where ``embedding_bytes`` says so), and temporaries of the weight's type
    while all weights are updated at once."""

    states: int = 0
    bytes: float = 0
    embedding_bytes: int | None = None
    temporaries: int = 0

    def state_bytes(self, params: int, embeddings: int, value: int) -> int:
        """Of ``params`` trained weights of ``value`` bytes, ``embeddings`` of which are such."""
        apart = 0 if self.embedding_bytes is None else embeddings
        others = (params - apart) * (self.states * value + self.bytes)
        return round(others) + apart * (self.embedding_bytes or 0)


# Adam makes one temporary of the size of the parameters when it treats them all at once, which is
# the default on CUDA: 10 bytes a parameter at the step of a bfloat16 run (2 weights, 2 gradients,
# 4 states, 2 temporary), exactly as measured for Mistral-7B and PowerLM-3b (fms-acceleration).
# In torch 2.0 there were two of those, the root and the root with epsilon (optim/adamw.py).
# Adafactor keeps a row and a column of each matrix; paged states are no memory of torch's.
# bitsandbytes' blocks of 256 states share a float32, in both of Adam's (Dettmers et al. 2022, 8-bit
# Optimizers via Block-wise Quantization, section 2.1); ours leaves those of embeddings in float32.
EIGHT_BITS = 2 * (1 + 4 / 256)
OPTIMIZERS = {
    "adamw_torch": Optimizer(states=2, temporaries=1),
    "adamw_torch_2.0": Optimizer(states=2, temporaries=2),
    "adamw_torch_fused": Optimizer(states=2),
    "adamw_8bit": Optimizer(bytes=EIGHT_BITS, embedding_bytes=2 * 4),
    "adamw_8bit_throughout": Optimizer(bytes=EIGHT_BITS),
    "paged_adamw": Optimizer(),
    "paged_adamw_8bit": Optimizer(),
    "adafactor": Optimizer(),
    "sgd": Optimizer(),
}


def optimizer_bytes(
    experiment: Experiment, shape: Shape, card: Card, trained: int, value: int
) -> tuple[int, int]:
    """States, and temporaries of a step, for ``trained`` weights of ``value`` bytes each; of all
    devices together."""
    if experiment.stack.deepspeed:  # weights and states in float32, and the gradient of the step
        return trained * 3 * 4, trained * 4
    optimizer = OPTIMIZERS[experiment.stack.optim or experiment.train.optim]
    embeddings = shape.embedding_params if experiment.tuning == "full" else 0
    states = optimizer.state_bytes(trained, embeddings, value)
    if card.is_cpu:  # where one weight is gone over after the other
        return states, _unpacked(experiment, shape) if optimizer.embedding_bytes else 0
    return states, trained * value * optimizer.temporaries


def _unpacked(experiment: Experiment, shape: Shape) -> int:
    """What bitsandbytes makes on the CPU of one matrix at a time, in float32: of one in 8 bits its
    gradient, both states, the root of the second and what divides; of an embedding three of these
    (backends/cpu/ops.py, 0.50). A head of its own is a matrix as well."""
    if experiment.tuning != "full":
        return 0
    largest = max([shape.head_params, *(one.inputs * one.outputs for one in shape.linears)])
    return 4 * max(5 * largest, 3 * shape.embedding_params)
