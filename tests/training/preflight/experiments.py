"""Experiments to judge: a sound one, and changes to it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from training.preflight import (
    DatasetFacts,
    Experiment,
    LoraSpec,
    ModelFacts,
    RecipeFacts,
    Resources,
    SuiteFacts,
    TrainSpec,
)

LLAMA_2_7B: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "vocab_size": 32000,
    "tie_word_embeddings": False,
}
LLAMA_3_8B = LLAMA_2_7B | {
    "intermediate_size": 14336,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
}
LLAMA_32_3B = LLAMA_3_8B | {
    "hidden_size": 3072,
    "intermediate_size": 8192,
    "num_hidden_layers": 28,
    "num_attention_heads": 24,
    "tie_word_embeddings": True,
}
MISTRAL_7B = LLAMA_2_7B | {
    "model_type": "mistral",
    "intermediate_size": 14336,
    "num_key_value_heads": 8,
}
POWERLM_3B = LLAMA_2_7B | {
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 40,
    "num_attention_heads": 36,
    "num_key_value_heads": 36,
    "vocab_size": 49152,
    "tie_word_embeddings": True,
}
QWEN_25_05B: dict[str, Any] = {
    "model_type": "qwen2",
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "vocab_size": 151936,
    "tie_word_embeddings": True,
}
GPT_2: dict[str, Any] = {
    "model_type": "gpt2",
    "n_embd": 768,
    "n_layer": 12,
    "n_head": 12,
    "n_positions": 1024,
    "vocab_size": 50257,
}

SOUND = Experiment(
    model=ModelFacts(
        name="Llama-2-7B",
        dtype="bf16",
        context_length=4096,
        config=LLAMA_2_7B,
        has_files=True,
        has_tokenizer=True,
        has_chat_template=False,
    ),
    dataset=DatasetFacts(
        name="alpaca",
        num_samples=52_000,
        splits=("train", "validation"),
        integrity_checked=True,
        integrity_passed=True,
        row_format="prompt_completion",
        mean_tokens=200.0,
        max_tokens=512,
    ),
    recipe=RecipeFacts(name="LoRA", method="lora", supports_quantized=True),
    train=TrainSpec(
        max_steps=1000,
        global_batch_size=8,
        grad_accum=2,
        learning_rate=2e-4,
        max_length=512,
        dtype="bfloat16",
        optim="adamw_torch",
    ),
    lora=LoraSpec(r=8, target_modules=("q_proj", "v_proj")),
    resources=Resources(gpus=1, gpu_type="a100-80gb"),
)

FULL = {"name": "Full Fine-Tune", "method": "full", "supports_quantized": False}


def make_experiment(
    *,
    eval_suites: tuple[str, ...] = (),
    eval_interval: int | None = None,
    export: tuple[str, ...] = ("safetensors",),
    columns: dict[str, str] | None = None,
    suites: tuple[SuiteFacts, ...] = (),
    missing_trackers: tuple[str, ...] = (),
    missing_kernels: tuple[str, ...] = (),
    **parts: Any,
) -> Experiment:
    """The sound experiment with some fields of some parts replaced, as in
    ``make_experiment(model={"trainable": False}, resources={"gpus": 0})``."""
    changed = {name: replace(getattr(SOUND, name), **fields) for name, fields in parts.items()}
    return replace(
        SOUND,
        eval_suites=eval_suites,
        eval_interval=eval_interval,
        export=export,
        columns=columns or {},
        suites=suites,
        missing_trackers=missing_trackers,
        missing_kernels=missing_kernels,
        **changed,
    )
