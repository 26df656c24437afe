"""A model of one or several GGUF files."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from registry.inspect.facts import BadModel, Card, Finding, Inspected, TokenizerFacts
from registry.inspect.gguf_header import Count, GgufTensor, Header, read_header

# llama.cpp's names of the mixtures (general.file_type).
FILE_TYPES = {
    0: "f32",
    1: "f16",
    2: "q4_0",
    3: "q4_1",
    7: "q8_0",
    8: "q5_0",
    9: "q5_1",
    10: "q2_k",
    11: "q3_k_s",
    12: "q3_k_m",
    13: "q3_k_l",
    14: "q4_k_s",
    15: "q4_k_m",
    16: "q5_k_s",
    17: "q5_k_m",
    18: "q6_k",
    19: "iq2_xxs",
    20: "iq2_xs",
    21: "q2_k_s",
    22: "iq3_xs",
    23: "iq3_xxs",
    24: "iq1_s",
    25: "iq4_nl",
    26: "iq3_s",
    27: "iq3_m",
    28: "iq2_s",
    29: "iq2_m",
    30: "iq4_xs",
    31: "iq1_m",
    32: "bf16",
    36: "tq1_0",
    37: "tq2_0",
    38: "mxfp4",
    39: "nvfp4",
}
PLAIN = {"f32": "fp32", "f16": "fp16", "bf16": "bf16", "f64": "fp64"}
# A table of frequencies, which nobody trains.
NO_PARAMETERS = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")
_SPLIT = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf")
_LARGEST = 2**31 - 1


def gguf_model(paths: list[Path]) -> Inspected:
    """The model in these files of one folder: the parts of one, or the first of several. Raises
    BadModel."""
    parts, others = _of_one_model(sorted(paths))
    headers = [read_header(path) for path in parts]
    facts = headers[0].facts
    tensors: dict[str, GgufTensor] = {}
    for header in headers:
        tensors |= header.tensors
    if not tensors:
        raise BadModel(f"{parts[0].name} holds no tensors.")
    _check_count(facts, headers, parts[0].name)
    return _described(facts, tensors, parts, others)


def _of_one_model(paths: list[Path]) -> tuple[list[Path], list[Path]]:
    """The files of the first model, and those of others. Raises BadModel where one is missing."""
    found = _SPLIT.fullmatch(paths[0].name)
    if found is None:
        return paths[:1], paths[1:]
    stem, count = found[1], int(found[3])
    if not 0 < count <= 10_000:
        raise BadModel(f"{paths[0].name} would be one of {count} parts.")
    names = [f"{stem}-{number:05}-of-{count:05}.gguf" for number in range(1, count + 1)]
    there = {path.name: path for path in paths}
    if missing := [name for name in names if name not in there]:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise BadModel(
            f"{len(missing)} of {count} parts are missing: {', '.join(missing[:3])}{more}."
        )
    parts = [there[name] for name in names]
    return parts, [path for path in paths if path not in parts]


def is_part(path: Path) -> bool:
    """Is this one file of a model that has been split into several?"""
    found = _SPLIT.fullmatch(path.name)
    return found is not None and int(found[3]) > 1


def _check_count(facts: dict[str, Any], headers: list[Header], name: str) -> None:
    promised = facts.get("split.tensors.count")
    there = sum(len(header.tensors) for header in headers)
    if isinstance(promised, int) and promised != there:
        raise BadModel(f"{name} promises {promised:,} tensors, in its parts are {there:,}.")


def _described(
    facts: dict[str, Any],
    tensors: dict[str, GgufTensor],
    parts: list[Path],
    others: list[Path],
) -> Inspected:
    family = _text(facts, "general.architecture")[:60]
    types: Counter[str] = Counter()
    for name, tensor in tensors.items():
        if name not in NO_PARAMETERS:
            types[PLAIN.get(tensor.type_name, tensor.type_name)] += tensor.values
    most = types.most_common(1)[0][0] if types else ""
    named = FILE_TYPES.get(facts.get("general.file_type", -1), most)
    tokens = facts.get("tokenizer.ggml.tokens")
    vocabulary = tokens.items if isinstance(tokens, Count) else None
    embeddings = tensors.get("token_embd.weight")
    rows = embeddings.shape[1] if embeddings and len(embeddings.shape) == 2 else None
    template = _text(facts, "tokenizer.chat_template")
    return Inspected(
        is_gguf=True,
        family=family,
        architecture=family,
        dtype=PLAIN.get(named, named) or "gguf",
        quantization=None if most in PLAIN.values() else "gguf",
        params=sum(types.values()),
        dtypes=dict(types.most_common()),
        context_length=_size(facts, f"{family}.context_length"),
        hidden_size=_size(facts, f"{family}.embedding_length"),
        num_layers=_size(facts, f"{family}.block_count"),
        vocab_size=vocabulary or rows,
        weight_files=tuple(path.name for path in parts),
        has_tokenizer=vocabulary is not None,
        has_chat_template=bool(template),
        tokenizer=_tokenizer(facts, vocabulary),
        card=Card(license=_text(facts, "general.license")[:200]),
        findings=(*_of_vocabulary(vocabulary, rows, parts[0].name), *_of_others(others)),
    )


def with_config(inspected: Inspected, from_config: Inspected) -> Inspected:
    """A GGUF file beside a config.json: the file tells what is in it, the config the rest."""
    return replace(
        inspected,
        config=from_config.config,
        family=from_config.family or inspected.family,
        architecture=from_config.architecture or inspected.architecture,
        modality=from_config.modality,
        context_length=inspected.context_length or from_config.context_length,
        hidden_size=inspected.hidden_size or from_config.hidden_size,
        num_layers=inspected.num_layers or from_config.num_layers,
        vocab_size=inspected.vocab_size or from_config.vocab_size,
    )


def _tokenizer(facts: dict[str, Any], vocabulary: int | None) -> TokenizerFacts | None:
    if vocabulary is None:
        return None
    special = {
        f"{name}_token": {"token": None, "id": token_id}
        for name in ("bos", "eos", "unknown", "padding")
        if isinstance(token_id := facts.get(f"tokenizer.ggml.{name}_token_id"), int)
    }
    kind = _text(facts, "tokenizer.ggml.model")[:60] or "GGUF"
    return TokenizerFacts(kind=kind, size=vocabulary, special=special)


def _of_vocabulary(vocabulary: int | None, rows: int | None, file: str) -> list[Finding]:
    if vocabulary is None or rows is None or vocabulary <= rows:
        return []
    return [
        Finding(
            code="vocabulary_larger_than_embeddings",
            message=f"It has {vocabulary:,} tokens, but embeddings for {rows:,}.",
            fix="Convert the model again, with the tokenizer that belongs to its weights.",
            level="error",
            file=file,
        )
    ]


def _of_others(others: list[Path]) -> list[Finding]:
    if not others:
        return []
    more = f" and {len(others) - 3} more" if len(others) > 3 else ""
    names = ", ".join(path.name for path in others[:3])
    return [
        Finding(
            code="several_models",
            message=f"There are other GGUF files in the folder ({names}{more}). What is said here "
            "is about the first.",
            fix="Register the file that is meant by its own path.",
            file=others[0].name,
        )
    ]


def _text(facts: dict[str, Any], key: str) -> str:
    value = facts.get(key)
    return value if isinstance(value, str) else ""


def _size(facts: dict[str, Any], key: str) -> int | None:
    value = facts.get(key)
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _LARGEST:
        return value
    return None
