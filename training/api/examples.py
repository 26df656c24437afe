"""What the OpenAPI document shows of preflight and jobs."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample

IDS = {
    "base_model_id": "0c5e9f2a-8e2b-4f1b-9c7e-3d1a2b4c5d6e",
    "dataset_id": "c9a8f6a4-2a4e-4a39-8a36-5a1f0b1f3a55",
    "recipe_id": "e4d2b6c0-1f3a-4b5c-8d7e-9f0a1b2c3d4e",
}
EXPERIMENT: dict[str, Any] = {
    **IDS,
    "train": {
        "max_steps": 1000,
        "global_batch_size": 8,
        "grad_accum": 4,
        "learning_rate": 2e-5,
    },
    "resources": {"gpus": 1, "gpu_type": "a100", "strategy": "ddp", "mixed_precision": "bf16"},
}
FITS = {
    "ok": True,
    "warnings": [
        "Dataset is small (5000 samples). Consider using a larger dataset for better results."
    ],
    "errors": [],
    "estimated_vram_mb": 24_576,
    "vram_breakdown": {
        "model_params_gb": 14.0,
        "activations_gb": 4.0,
        "gradients_gb": 3.5,
        "optimizer_gb": 2.5,
        "total_with_buffer_gb": 24.0,
    },
    "time_per_step_ms": 125,
    "throughput": {"samples_per_second": 64, "tokens_per_second": 32_768},
    "headroom_mb": 57_344,
    "fits": True,
    "bottleneck": "compute",
    "total_time_s": 186.4,
    "total_time_range_s": [115.0, 310.0],
    "time_breakdown_s": {
        "start": 15.0,
        "data": 3.4,
        "load": 17.5,
        "reference": 0.0,
        "training": 125.0,
        "evaluation": 6.2,
        "checkpoints": 18.0,
        "export": 1.3,
    },
    "rows": {
        "basis": "counted",
        "mean_tokens": 512.0,
        "padded_tokens": 515.8,
        "largest_micro_batch_tokens": 4096,
        "truncated_percent": 0.4,
        "left_out_percent": 0.0,
        "lost_tokens_percent": 0.1,
        "rows_per_epoch": 5000,
        "steps": 1000,
    },
    "disk_required_mb": 80_000,
    "host_memory_required_mb": 1536,
    "download_mb": 0,
    "confidence": None,
    "fixes": [],
}
CANNOT_BE = {
    "ok": False,
    "warnings": [],
    "errors": [
        "ERROR: Recipe 'Full Fine-Tune' does not support quantized models. "
        "Model 'Llama-2-7B-GPTQ' is int4.",
        "ERROR: Dataset failed integrity check. Please review and fix dataset issues before "
        "training.",
    ],
    "estimated_vram_mb": 0,
    "vram_breakdown": {},
    "time_per_step_ms": 0,
    "throughput": {},
    "headroom_mb": None,
    "fits": None,
    "bottleneck": None,
    "total_time_s": None,
    "total_time_range_s": None,
    "time_breakdown_s": {},
    "rows": {},
    "disk_required_mb": 0,
    "host_memory_required_mb": 0,
    "download_mb": 0,
    "confidence": None,
    "fixes": [],
}
JOB = {
    "name": "Llama-2-7B Fine-tune on Alpaca",
    **IDS,
    "adapters": [],
    "train": {
        **EXPERIMENT["train"],
        "warmup_steps": 100,
        "seed": 42,
        "checkpoint_interval": 100,
    },
    "strategy": {"type": "ddp", "mixed_precision": "bf16"},
    "resources": {"gpus": 1, "gpu_type": "a100", "partition_id": None},
    "eval": {"suites": ["exact_match"], "interval": 100},
    "export": ["safetensors"],
    "metadata": {"origin": "template", "template_id": IDS["recipe_id"]},
}

PREFLIGHT = [
    OpenApiExample("An experiment", EXPERIMENT, request_only=True),
    OpenApiExample("It fits", FITS, response_only=True),
    OpenApiExample("It cannot be", CANNOT_BE, response_only=True),
]
JOB_CREATE = [OpenApiExample("With everything said", JOB, request_only=True)]
PROBE = [OpenApiExample("A few real steps", EXPERIMENT, request_only=True)]
