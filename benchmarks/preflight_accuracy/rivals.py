"""The rules of thumb in circulation, in our own words, for the same rows.

| tool | rule |
| --- | --- |
| accelerate estimate-memory (huggingface/accelerate, commands/estimate.py) | training with Adam: 16 bytes a parameter in float32, 8 where loaded in 16 bits; knows no adapters |
| LLaMA-Factory (hiyouga/LLaMA-Factory, README, "Hardware Requirement") | bytes a parameter: 18 full with mixed precision, 8 full in bfloat16, 2 LoRA, 0.5 QLoRA in 4 bits |
| can-it-run-llm (Vokturz/can-it-run-llm, Space) | LoRA: (weights + 4 × 2 bytes for each trained parameter) × 1.2; knows no full training |

None of them knows batch, length, checkpointing or the number of cards: one card's rows only.
"""  # noqa: E501

from __future__ import annotations

from training.preflight import Experiment
from training.preflight.memory import trainable_params
from training.preflight.shape import Shape

FLOAT32 = "float32"


def accelerate(experiment: Experiment, shape: Shape) -> float | None:
    if experiment.tuning != "full":
        return None
    return shape.total_params * (16.0 if experiment.train.dtype == FLOAT32 else 8.0)


def llama_factory(experiment: Experiment, shape: Shape) -> float | None:
    if experiment.tuning == "full":
        mixes = experiment.train.dtype == FLOAT32
        return shape.total_params * (18.0 if mixes else 8.0)
    return shape.total_params * (0.5 if _four_bit(experiment) else 2.0)


def can_it_run(experiment: Experiment, shape: Shape) -> float | None:
    if experiment.tuning == "full":
        return None
    weights = shape.total_params * (0.5 if _four_bit(experiment) else 2.0)
    return (weights + 8.0 * trainable_params(experiment, shape)) * 1.2


def _four_bit(experiment: Experiment) -> bool:
    return experiment.tuning == "qlora" or experiment.model.quantized


RIVALS = {
    "accelerate": accelerate,
    "LLaMA-Factory": llama_factory,
    "can-it-run-llm": can_it_run,
}
