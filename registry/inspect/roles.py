"""What each file of a model is, told by its name."""

from __future__ import annotations

from pathlib import PurePosixPath

from registry.inspect.weights import INDEX, PICKLES

NAMED = {
    "config.json": "configuration",
    "generation_config.json": "configuration",
    "adapter_config.json": "configuration",
    "quantize_config.json": "configuration",
    "quant_config.json": "configuration",
    INDEX: "index of the weights",
    "tokenizer.json": "tokenizer",
    "tokenizer_config.json": "tokenizer",
    "tokenizer.model": "tokenizer",
    "special_tokens_map.json": "tokenizer",
    "added_tokens.json": "tokenizer",
    "vocab.json": "tokenizer",
    "vocab.txt": "tokenizer",
    "merges.txt": "tokenizer",
    "spiece.model": "tokenizer",
    "tekken.json": "tokenizer",
    "chat_template.jinja": "chat template",
    "chat_template.json": "chat template",
    "preprocessor_config.json": "preprocessing",
    "processor_config.json": "preprocessing",
    "video_preprocessor_config.json": "preprocessing",
    "readme.md": "model card",
}
BY_SUFFIX = {".safetensors": "weights", ".gguf": "weights", ".py": "code", ".onnx": "graph"}


def role_of(name: str) -> str:
    """ "weights", "tokenizer", "pickle, never opened", ...; "other" for what is none of them."""
    path = PurePosixPath(name.lower())
    if path.name in NAMED:
        return NAMED[path.name]
    if path.suffix in PICKLES:
        return "pickle, never opened"
    if path.name.startswith(("license", "licence", "notice")):
        return "licence"
    return BY_SUFFIX.get(path.suffix, "other")
