"""From what an inspection has found to the fields of a base model."""

from __future__ import annotations

from typing import Any

from registry.inspect import Inspected

# Keys of a model's metadata that an inspection writes; the first is never taken from a caller.
INSPECTED_KEYS = ("inspection", "config")


def own_words(metadata: dict[str, Any]) -> dict[str, Any]:
    """A caller's metadata without what only an inspection may write."""
    return {key: value for key, value in metadata.items() if key != INSPECTED_KEYS[0]}


def with_facts(fields: dict[str, Any], inspected: Inspected, *, has_files: bool) -> dict[str, Any]:
    """The caller's ``fields`` under what was found. Words about a model stay the caller's: family,
    card, and, where only a config is known, the modality."""
    facts: dict[str, Any] = {
        "params_b": inspected.params_b,
        "dtype": inspected.dtype,
        "context_length": inspected.context_length,
        "hidden_size": inspected.hidden_size,
        "num_layers": inspected.num_layers,
        "vocab_size": inspected.vocab_size,
        "architecture": inspected.architecture,
        "modality": inspected.modality,
    }
    # A config does not say everything; the caller fills in what it leaves open.
    known = {key: value for key, value in facts.items() if value not in (None, "")}
    if has_files or inspected.quantized:
        known |= {"quantized": inspected.quantized}
    if has_files:
        known |= {"is_gguf": inspected.is_gguf}
    words = {"family": inspected.family, "model_card": inspected.model_card}
    if not has_files:
        words["modality"] = known.pop("modality")
    words = {key: value for key, value in words.items() if value and not fields.get(key)}
    if not inspected.trainable:
        known["trainable"] = False
    return {**fields, **words, **known}


def found_in(inspected: Inspected) -> dict[str, Any]:
    """What goes into a model's metadata: its config, and what has no field of its own."""
    found: dict[str, Any] = {
        "inspection": {
            "params": inspected.params,
            "dtypes": inspected.dtypes,
            "quantization": inspected.quantization,
            "has_tokenizer": inspected.has_tokenizer,
            "has_chat_template": inspected.has_chat_template,
            "weight_files": list(inspected.weight_files),
        }
    }
    return found if inspected.config is None else {**found, "config": inspected.config}
