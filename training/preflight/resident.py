"""The CPU as a card: what a process occupies beside the tensors that torch has.

On the CPU `peak_allocated` plus this is what the system calls the resident set, which is what the
trainer measures there and what has to fit into the machine.
"""

from __future__ import annotations

from dataclasses import replace

from training.preflight.activations import (
    numerics_of,
    saved_bytes_per_token,
    working_bytes_per_token,
)
from training.preflight.calibration import Calibration
from training.preflight.facts import Experiment
from training.preflight.hardware import MIB, Card
from training.preflight.memory import MemoryEstimate, tokens_at_once
from training.preflight.shape import Shape

# glibc gives a freed block back at once from 32 MiB up (M_MMAP_THRESHOLD_MAX of mallopt(3));
# smaller ones stay in its heap, where those that live on lie between them. What a layer needs while
# it is at work comes and goes in such blocks. Measured over benchmarks/preflight_on_cpu.py: 1.4
# times a layer's own; with every block from 64 KiB up given back at once it is nothing (1188 MiB
# become 798, of which 323 are tensors), and a step takes half as long again.
LEFT_IN_HEAP = 1.4
LARGEST_KEPT = 32 * MIB
BLOCKS_OF_A_LAYER = 16


def with_process(
    memory: MemoryEstimate,
    experiment: Experiment,
    shape: Shape,
    card: Card,
    calibration: Calibration,
) -> MemoryEstimate:
    """On the CPU: with the process around the tensors. Own runs have measured, and correct, all of
    it together."""
    if not card.is_cpu:
        return memory
    around = card.context_bytes + heap_bytes(experiment, shape)
    return replace(memory, context_bytes=round(around * calibration.peak_memory))


def heap_bytes(experiment: Experiment, shape: Shape) -> int:
    """What the heap keeps of one layer's comings and goings."""
    numerics = numerics_of(experiment)
    layer = saved_bytes_per_token(experiment, shape, numerics)
    layer += working_bytes_per_token(experiment, shape, numerics)
    in_blocks = min(tokens_at_once(experiment) * layer, BLOCKS_OF_A_LAYER * LARGEST_KEPT)
    return round(LEFT_IN_HEAP * in_blocks)
