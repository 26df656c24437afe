"""From what an inspection has found to the fields of a base model."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from registry.inspect import Inspected, InspectedAdapter
from registry.inspect.facts import Card

# Keys of a model's metadata that an inspection writes; the first is never taken from a caller.
INSPECTED_KEYS = ("inspection", "config")
# What a person may have changed since: a second look at the files leaves it alone.
WORDS = ("family", "model_card", "tags", "trainable")
# As the API takes them from people.
LONGEST_TAG, MOST_TAGS = 60, 50


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
    words: dict[str, Any] = {"family": inspected.family, "model_card": inspected.card.text}
    if inspected.card.tags:
        words["tags"] = _tags(inspected.card)
    if not has_files:
        words["modality"] = known.pop("modality")
    words = {key: value for key, value in words.items() if value and not fields.get(key)}
    if not inspected.trainable:
        known["trainable"] = False
    return {**fields, **words, **known}


def found_in(inspected: Inspected) -> dict[str, Any]:
    """What goes into a model's metadata: its config, and what has no field of its own."""
    tokenizer = inspected.tokenizer
    found: dict[str, Any] = {
        "inspection": {
            "params": inspected.params,
            "dtypes": inspected.dtypes,
            "quantization": inspected.quantization,
            "has_tokenizer": inspected.has_tokenizer,
            "has_chat_template": inspected.has_chat_template,
            "weight_files": list(inspected.weight_files),
            "tokenizer": None if tokenizer is None else asdict(tokenizer),
            "code": None if inspected.code is None else inspected.code.as_dict(),
            "findings": [finding.as_dict() for finding in inspected.findings],
            **_of_card(inspected.card),
        }
    }
    return found if inspected.config is None else {**found, "config": inspected.config}


def found_in_adapter(inspected: InspectedAdapter) -> dict[str, Any]:
    """The same of an adapter."""
    return {
        "inspection": {
            "params": inspected.params,
            "dtypes": inspected.dtypes,
            "weight_files": list(inspected.weight_files),
            "findings": [finding.as_dict() for finding in inspected.findings],
            "made_for": inspected.base_model,
            **_of_card(inspected.card),
        },
        "config": inspected.config,
    }


def _of_card(card: Card) -> dict[str, Any]:
    return {
        "license": card.license,
        "base_model": list(card.base_model),
        "languages": list(card.languages),
    }


def _tags(card: Card) -> list[str]:
    return [tag for tag in card.tags if len(tag) <= LONGEST_TAG][:MOST_TAGS]
