"""Sentences about numbers, cards, memory and disk."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.training.preflight.experiments import FULL, make_experiment
from tests.training.preflight.sentences import GPTQ, stands_in_the_way
from training.preflight import CardFacts, check
from training.preflight.hardware import known_cards

T4 = CardFacts(gpu_type="t4", memory_mb=15_000)
A100 = CardFacts(gpu_type="a100-80gb", memory_mb=81_000)
L4 = CardFacts(gpu_type="l4", memory_mb=23_000)


ERRORS: list[tuple[str, dict[str, Any]]] = [
    (
        "use_liger_kernel needs a GPU; the job runs on the CPU. Leave it out, or set gpus.",
        {"train": {"use_liger_kernel": True}, "resources": {"gpus": 0}},
    ),
    (
        "max_steps must be at most 1000000000; it is 1000000001.",
        {"train": {"max_steps": 1_000_000_001}},
    ),
    (
        "gpus must be between 0 and 100000; it is -1.",
        {"resources": {"gpus": -1}},
    ),
    (
        "mixed_precision 'fp8' is not known. Known: no, bf16, fp16.",
        {"resources": {"mixed_precision": "fp8"}},
    ),
    (
        "strategy 'pipeline' is not known. Known: ddp, fsdp, zero1, zero2, zero3.",
        {"resources": {"strategy": "pipeline"}},
    ),
    (
        "micro batch = global_batch_size / (grad_accum × gpus) must be a whole number: "
        "8 / (3 × 1) is not. Set global_batch_size to 6 or 9.",
        {"train": {"global_batch_size": 8, "grad_accum": 3}},
    ),
    (
        "micro batch = global_batch_size / (grad_accum × gpus) must be a whole number: "
        "3 / (2 × 4) is not. Set global_batch_size to 8.",
        {"train": {"global_batch_size": 3, "grad_accum": 2}, "resources": {"gpus": 4}},
    ),
    (
        "optim adamw_8bit goes over whole tensors, and strategy zero1 leaves each GPU a share of "
        "them. Use adamw_torch_fused, or ddp.",
        {
            "resources": {"gpus": 2, "strategy": "zero1"},
            "train": {"optim": "adamw_8bit"},
        },
    ),
    (
        "Mixed precision fp16 does not go with strategy zero2. Use bf16, or ddp.",
        {
            "resources": {"gpus": 2, "strategy": "zero2", "mixed_precision": "fp16"},
            "train": {"dtype": "float32"},
        },
    ),
    (
        "Strategy fsdp cannot share out the weights of model 'Llama-2-7B-GPTQ', which are "
        "quantized already. Use ddp, or QLoRA on the model they were made from.",
        {
            "model": GPTQ,
            "recipe": {"supports_quantized": True},
            "resources": {"gpus": 2, "strategy": "fsdp"},
        },
    ),
    (
        f"GPU type 'a1000-99gb' is not known. Known: {', '.join(known_cards())}.",
        {"resources": {"gpu_type": "a1000-99gb"}},
    ),
    (
        "This job can never run here: it asks for 1 × a100-80gb, and there is 2 × t4, 1 × l4. "
        "Choose gpus and gpu_type of what is there, or another partition.",
        {"resources": {"cards": (T4, T4, L4)}},
    ),
    (
        "This job can never run here: it asks for 1 × a100-80gb, and there is no GPU. Choose gpus "
        "and gpu_type of what is there, or another partition.",
        {"resources": {"cards": (CardFacts(gpu_type="cpu"),)}},
    ),
    (
        "This job can never run here: it asks for 2 × GPU in one machine, and no worker has more "
        "than 1. Choose gpus and gpu_type of what is there, or another partition.",
        {
            "resources": {
                "gpus": 2,
                "gpu_type": None,
                "cards": (replace(A100, worker="a"), replace(A100, worker="b")),
            }
        },
    ),
    (
        "This job can never run here: it asks for 2 × a100-80gb, and there is 2 × a100-80gb, of "
        "which slices of a card (MIG) cannot work together. Choose gpus and gpu_type of what is "
        "there, or another partition.",
        {"resources": {"gpus": 2, "cards": (replace(A100, is_slice=True),) * 2}},
    ),
    (
        "use_liger_kernel needs the library liger-kernel, which is not installed here: "
        "pip install liger-kernel. Or leave it out.",
        {"train": {"use_liger_kernel": True}, "missing_kernels": ("liger-kernel",)},
    ),
    (
        "attn_implementation flash_attention_2 needs the library flash-attn, which is not "
        "installed here: pip install flash-attn. Or use sdpa.",
        {
            "train": {"attn_implementation": "flash_attention_2"},
            "missing_kernels": ("flash-attn",),
        },
    ),
    (
        "Not enough host memory: the process of the job needs 1.5 GB; the machines here have "
        "1.0 GB. Choose a partition whose machines have more.",
        {"resources": {"host_memory_gb": 1.0}},
    ),
    (
        "bfloat16 needs a card with bfloat16 units, which v100-16gb has not. "
        "Use float32 weights with mixed precision fp16.",
        {"resources": {"gpu_type": "v100"}},
    ),
    (
        "bf16 needs a card with bfloat16 units, which t4 has not. "
        "Use float32 weights with mixed precision fp16.",
        {"resources": {"gpu_type": "t4", "mixed_precision": "bf16"}, "train": {"dtype": "float32"}},
    ),
    (
        "Mixed precision fp16 needs trained weights in float32, not in float16. "
        "Set dtype to float32.",
        {
            "recipe": FULL,
            "train": {"dtype": "float16"},
            "resources": {"mixed_precision": "fp16"},
        },
    ),
    (
        "attn_implementation flash_attention_2 needs a GPU of the Ampere generation or newer; "
        "the job runs on the CPU. Use sdpa.",
        {"train": {"attn_implementation": "flash_attention_2"}, "resources": {"gpus": 0}},
    ),
    (
        "attn_implementation flash_attention_2 needs a GPU of the Ampere generation or newer; "
        "the job runs on t4, which is older. Use sdpa.",
        {
            "train": {"attn_implementation": "flash_attention_2", "dtype": "float16"},
            "resources": {"gpu_type": "t4"},
        },
    ),
    (
        "Not enough disk: checkpoints and exports need 0.2 GB, 0.1 GB are free. "
        "Lower save_total_limit or free space.",
        {"resources": {"disk_free_mb": 100}},
    ),
    (
        "Not enough host memory: 8 processes need 24.6 GB, as with zero3 the first has the whole "
        "model before and after training; the machines here have 16.0 GB. Use ddp, which loads "
        "straight to the cards.",
        {
            "resources": {"gpus": 8, "strategy": "zero3", "host_memory_gb": 16.0},
            "train": {"grad_accum": 1},
        },
    ),
    (
        "Not enough host memory: 8 processes need 44.7 GB, as with zero3 each loads the whole "
        "model first; the machines here have 16.0 GB. Use ddp, which loads straight to the cards, "
        "or fewer gpus.",
        {
            "recipe": {"method": "qlora"},
            "resources": {"gpus": 8, "strategy": "zero3", "host_memory_gb": 16.0},
            "train": {"grad_accum": 1},
        },
    ),
    (
        "Not enough host memory: 8 processes need 12.0 GB; the machines here have 8.0 GB. Set "
        "fewer gpus.",
        {"resources": {"gpus": 8, "host_memory_gb": 8.0}, "train": {"grad_accum": 1}},
    ),
    (
        "Model 'Llama-2-7B' is held in float8, which needs a card with such units (Ada, Hopper or "
        "newer) that a100-80gb has not. Choose the model in bfloat16.",
        {"model": {"dtype": "fp8"}},
    ),
    (
        "Model 'Llama-2-7B' is held in float8, which needs a card with such units (Ada, Hopper or "
        "newer) that the CPU has not. Choose the model in bfloat16.",
        {"model": {"dtype": "float8_e4m3fn"}, "resources": {"gpus": 0, "gpu_type": None}},
    ),
]


@pytest.mark.parametrize(("sentence", "changes"), ERRORS, ids=[s for s, _ in ERRORS])
def test_what_stands_in_the_way_is_said(sentence: str, changes: dict[str, Any]) -> None:
    stands_in_the_way(sentence, **changes)


def test_an_unknown_card_names_the_known_ones() -> None:
    (told,) = check(make_experiment(resources={"gpu_type": "a1000"})).errors
    assert told.startswith("ERROR: GPU type 'a1000' is not known. Known: a10, a100-40gb, ")
    assert "h200" in told


def test_what_does_not_fit_names_the_numbers_and_the_way_out() -> None:
    report = check(make_experiment(recipe=FULL, train={"dtype": "float32"}))
    (told,) = report.errors
    needs = report.estimated_vram_mb / 1024
    assert told.startswith(
        f"ERROR: Does not fit: needs {needs:.1f} GB of GPU memory, the a100-80gb has 79.1 GB. "
    )
    best = report.fixes[0]
    assert told.endswith(f"{best.title}: {best.estimated_vram_mb / 1024:.1f} GB.")


def test_on_the_cpu_the_memory_of_the_machine_counts() -> None:
    report = check(make_experiment(resources={"gpus": 0, "gpu_type": None, "host_memory_gb": 8.0}))
    needs = report.estimated_vram_mb / 1024
    assert report.errors[0].startswith(
        f"ERROR: Does not fit: needs {needs:.1f} GB of memory, this machine has 8.0 GB."
    )
