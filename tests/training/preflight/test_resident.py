"""The CPU as a card: the process around the tensors."""

from __future__ import annotations

from typing import Any

from tests.training.preflight.experiments import FULL, make_experiment
from training.preflight import Experiment
from training.preflight.calibration import Calibration
from training.preflight.estimate import estimate
from training.preflight.hardware import CPU_PROCESS_BYTES, CUDA_CONTEXT_BYTES, MIB
from training.preflight.memory import MemoryEstimate
from training.preflight.resident import BLOCKS_OF_A_LAYER, LARGEST_KEPT, LEFT_IN_HEAP

TINY = {
    "config": {
        "model_type": "llama", "hidden_size": 256, "intermediate_size": 688, "vocab_size": 4096,
        "num_hidden_layers": 4, "num_attention_heads": 8, "num_key_value_heads": 4,
    }
}  # fmt: skip


def on_cpu(**train: Any) -> Experiment:
    return make_experiment(
        model=TINY, recipe=FULL, resources={"gpus": 0, "gpu_type": None},
        train={"dtype": "float32", "grad_accum": 1, "optim": "adamw_torch_fused", **train},
    )  # fmt: skip


def memory_of(experiment: Experiment, factor: float = 1.0) -> MemoryEstimate:
    found = estimate(experiment, Calibration(peak_memory=factor))
    assert found is not None
    return found.memory


def test_what_one_layer_leaves_in_the_heap_is_counted() -> None:
    one, eight = (memory_of(on_cpu(global_batch_size=rows)).context_bytes for rows in (1, 8))
    assert CPU_PROCESS_BYTES < one < eight
    assert abs(eight - CPU_PROCESS_BYTES - 8 * (one - CPU_PROCESS_BYTES)) <= 8


def test_what_is_large_is_given_back_so_the_heap_has_an_end() -> None:
    most = memory_of(on_cpu(global_batch_size=4096)).context_bytes
    assert most == CPU_PROCESS_BYTES + round(LEFT_IN_HEAP * BLOCKS_OF_A_LAYER * LARGEST_KEPT)


def test_more_layers_leave_no_more_as_they_are_at_work_one_by_one() -> None:
    deep = make_experiment(
        model={"config": TINY["config"] | {"num_hidden_layers": 40}}, recipe=FULL,
        resources={"gpus": 0}, train={"dtype": "float32", "grad_accum": 1},
    )  # fmt: skip
    assert memory_of(deep).context_bytes == memory_of(on_cpu()).context_bytes


def test_own_runs_correct_the_process_and_all() -> None:
    plain, corrected = memory_of(on_cpu()), memory_of(on_cpu(), 1.5)
    for before, after in (
        (plain.context_bytes, corrected.context_bytes),
        (plain.peak_allocated_bytes, corrected.peak_allocated_bytes),
    ):
        assert abs(after - 1.5 * before) <= 1


def test_a_card_has_its_context_and_nothing_else() -> None:
    assert memory_of(make_experiment(), 1.5).context_bytes == CUDA_CONTEXT_BYTES


def test_measured_and_said_are_near() -> None:
    """Of this very model, measured by benchmarks/preflight_on_cpu.py: 16 rows of 512 tokens, and
    without the heap a fifth too little."""
    said = memory_of(on_cpu(global_batch_size=16, gradient_checkpointing=True))
    peak_mib = (said.peak_allocated_bytes + said.context_bytes) / MIB
    assert abs(peak_mib / 1188 - 1) < 0.1
