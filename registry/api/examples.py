"""What the OpenAPI document shows of the registry."""

from __future__ import annotations

from drf_spectacular.utils import OpenApiExample

PROJECT = "b1e6a1de-5b7c-4f6e-8d2e-9a7c5f3b1d42"
LLAMA = {
    "id": "0c5e9f2a-8e2b-4f1b-9c7e-3d1a2b4c5d6e",
    "project_id": PROJECT,
    "name": "Llama-2-7B",
    "family": "llama",
    "description": "Llama 2 7 billion parameter model",
    "params_b": 7.0,
    "dtype": "bf16",
    "context_length": 4096,
    "hidden_size": 4096,
    "num_layers": 32,
    "architecture": "transformer",
    "modality": "text",
    "trainable": True,
    "servable": True,
    "quantized": False,
    "is_gguf": False,
    "stage": "production",
    "status": "active",
    "storage_path": "/models/llama-2-7b",
    "size_bytes": 13_900_000_000,
    "checksum": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "hf_repo_id": "meta-llama/Llama-2-7b-hf",
    "hf_revision": "main",
    "tokenizer_path": "/models/llama-2-7b/tokenizer",
    "vocab_size": 32_000,
    "tags": ["language-model", "llama"],
    "metadata": {},
    "model_card": "# Llama 2...",
    "created_at": "2025-10-30T12:00:00Z",
    "updated_at": "2025-10-30T12:00:00Z",
}
ALPACA = {
    "id": "c9a8f6a4-2a4e-4a39-8a36-5a1f0b1f3a55",
    "project_id": PROJECT,
    "name": "alpaca-cleaned",
    "version": "1.0",
    "description": "Cleaned Alpaca instruction dataset",
    "modality": "text",
    "size_bytes": 25_000_000,
    "num_samples": 52_000,
    "manifest_path": "/datasets/alpaca/manifest.jsonl",
    "storage_path": "/datasets/alpaca",
    "checksum": "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
    "integrity_checked": True,
    "integrity_passed": True,
    "integrity_report": {},
    "statistics": {"splits": ["train", "test"], "num_splits": 2},
    "tags": ["instruction", "cleaned"],
    "metadata": {"source": "huggingface", "hf_repo_id": "yahma/alpaca-cleaned"},
    "created_at": "2025-10-30T12:00:00Z",
    "updated_at": "2025-10-30T12:00:00Z",
    "compatibility": {"compatible": True, "warnings": [], "errors": []},
}

MODELS = [OpenApiExample("A Llama", LLAMA, response_only=True)]
DATASETS = [OpenApiExample("With compatible_with_model", ALPACA, response_only=True)]
