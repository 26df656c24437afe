"""Sentences about evaluation, trackers and exports."""

from __future__ import annotations

from typing import Any

import pytest

from tests.training.preflight.experiments import GPT_2, LLAMA_2_7B
from tests.training.preflight.sentences import DPO, GPTQ, stands_in_the_way
from training.preflight import SuiteFacts

MMLU = SuiteFacts(name="mmlu", lacks=("a", "b", "c", "d"), advice="Fetch it.")


ERRORS: list[tuple[str, dict[str, Any]]] = [
    (
        "Evaluation suite 'mmul': there is no such task.",
        {
            "eval_suites": ("mmul",),
            "suites": (SuiteFacts(name="mmul", problem="there is no such task."),),
        },
    ),
    (
        "Evaluation suite 'mmlu' needs data that is not on this machine: a, b, c and 1 more. "
        "Fetch it.",
        {"eval_suites": ("mmlu",), "suites": (MMLU,)},
    ),
    (
        "Evaluation suite 'long' lets the model write up to 4096 tokens, and model 'Llama-2-7B' "
        "has room for 4096, the question included. Leave it out.",
        {"eval_suites": ("long",), "suites": (SuiteFacts(name="long", writes_tokens=4096),)},
    ),
    (
        "Evaluation suites (mmlu) ask a model that writes text; recipe 'Labels' trains one that "
        "chooses labels. Leave them out: accuracy is measured anyway.",
        {
            "eval_suites": ("mmlu",),
            "recipe": {"name": "Labels", "method": "text_classification"},
            "dataset": {"row_format": "labelled"},
        },
    ),
    (
        "report_to names mlflow, and its library is not installed here: pip install -r "
        "requirements-reporting.txt.",
        {"missing_trackers": ("mlflow",)},
    ),
    (
        "Evaluation suite 'exact_match' needs a validation split. "
        "The splits of dataset 'alpaca': train. Hold some rows out as one on the dataset's page, "
        "or leave it out.",
        {"eval_suites": ("exact_match",), "dataset": {"splits": ("train",)}},
    ),
    (
        "Evaluation suite 'exact_match' needs rows with prompt and completion, or messages. "
        "The rows of dataset 'alpaca' are plain text. Leave it out.",
        {"eval_suites": ("exact_match",), "dataset": {"row_format": "text"}},
    ),
    (
        "Evaluation suite 'exact_match' needs rows with prompt and completion, or messages. "
        "The rows of dataset 'alpaca' are chosen and rejected answers. Leave it out.",
        {**DPO, "eval_suites": ("exact_match",)},
    ),
    (
        "load_best_model_at_end compares the evaluations of a run: set eval.interval to the steps "
        "between two of them.",
        {"train": {"load_best_model_at_end": True}},
    ),
    (
        "load_best_model_at_end needs a validation split to compare checkpoints by. "
        "The splits of dataset 'alpaca': train. Hold some rows out as one on the dataset's page, "
        "or leave it out.",
        {
            "train": {"load_best_model_at_end": True},
            "eval_interval": 50,
            "dataset": {"splits": ("train",)},
        },
    ),
    (
        "Export 'tensorrt' is not available. Available: safetensors, merged, onnx, gguf.",
        {"export": ("safetensors", "tensorrt")},
    ),
    (
        "Export 'gguf' is written for llama, mistral, qwen2, qwen3; model 'Llama-2-7B' is gpt2. "
        "Leave gguf out.",
        {"export": ("gguf",), "model": {"config": GPT_2}, "lora": {"target_modules": "all-linear"}},
    ),
    (
        "Export 'gguf' cannot be written with rotary positions scaled by yarn, as those of model "
        "'Llama-2-7B' are. Leave gguf out.",
        {
            "export": ("gguf",),
            "model": {"config": LLAMA_2_7B | {"rope_scaling": {"type": "yarn", "factor": 4.0}}},
        },
    ),
    (
        "Export 'gguf' needs a BPE tokenizer; that of model 'Llama-2-7B' is of the kind Unigram. "
        "Leave gguf out.",
        {"export": ("gguf",), "model": {"tokenizer_kind": "Unigram"}},
    ),
    (
        "Export 'gguf' is for models that write text; recipe 'Labels' trains one that chooses "
        "labels. Export onnx instead.",
        {
            "export": ("gguf",),
            "recipe": {"name": "Labels", "method": "text_classification"},
            "dataset": {"row_format": "labelled"},
        },
    ),
    (
        "Export 'merged', 'gguf' needs the weights of model 'Llama-2-7B-GPTQ' unquantized. Choose "
        "its original, or export safetensors alone.",
        {"export": ("gguf", "merged"), "model": GPTQ},
    ),
    (
        "Export 'onnx' needs 50.5 GB of host memory, the machines here have 40.0 GB. Leave it out, "
        "or make it elsewhere from safetensors.",
        {"export": ("onnx",), "resources": {"host_memory_gb": 40.0}},
    ),
]


@pytest.mark.parametrize(("sentence", "changes"), ERRORS, ids=[s for s, _ in ERRORS])
def test_what_stands_in_the_way_is_said(sentence: str, changes: dict[str, Any]) -> None:
    stands_in_the_way(sentence, **changes)
