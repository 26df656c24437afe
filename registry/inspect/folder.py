"""A model folder as ``save_pretrained`` writes it, or a GGUF file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from registry import files
from registry.inspect import gguf, quantization
from registry.inspect.card import read_card
from registry.inspect.code import Approval, approved_code, idle_code, nothing_is_approved
from registry.inspect.config import from_config
from registry.inspect.facts import ERROR, BadModel, Finding, Inspected
from registry.inspect.json_file import read_object
from registry.inspect.tokenizer import read_tokenizer
from registry.inspect.weights import (
    INDEX,
    SINGLE,
    count_dtypes,
    count_params,
    embedding_rows,
    pickles,
    read_weights,
)


def model_folder(path: Path, approves: Approval = nothing_is_approved) -> Inspected:
    """Read what is to know of the model without loading it. Raises BadModel, and nothing else.

    Only safetensors and GGUF count as weights. Code and pickles are never opened; a model that
    needs code of its own is refused (CodeNotApproved) unless ``approves`` says otherwise.
    """
    try:
        if path.is_file():
            return _gguf_file(path)
        return _folder(path, approves)
    except files.BadPath as error:
        raise BadModel(str(error)) from error
    except OSError as error:
        raise BadModel(f"'{path}' cannot be read: {error.strerror}.") from error


def _folder(folder: Path, approves: Approval) -> Inspected:
    ggufs = sorted(folder.glob("*.gguf"))
    if ggufs and not (folder / SINGLE).exists() and not (folder / INDEX).exists():
        return _gguf_folder(folder, ggufs)
    config = _config(folder)
    code = approved_code(folder, approves)
    inspected = replace(from_config(config), code=code)
    weights = read_weights(folder)
    if not weights.tensors:
        raise BadModel(f"{weights.files[0]} holds no tensors.")
    dtypes = count_dtypes(weights.tensors)
    said = inspected.quantization
    method, packed_dtype = quantization.method_of(weights.tensors)
    quantization_config = (inspected.config or {}).get("quantization_config")
    packing = quantization_config if isinstance(quantization_config, dict) else {}
    rows = embedding_rows(weights.tensors)
    inspected = replace(
        inspected,
        params=count_params(weights.tensors, packing if said or method else None),
        dtypes=dtypes,
        quantization=said or method,
        dtype=(inspected.dtype if said else packed_dtype) or next(iter(dtypes)),
        weight_files=weights.files,
        findings=(
            *weights.findings,
            *quantization.disagreements(said, weights.tensors),
            *_of_embeddings(inspected, rows),
            *pickles(folder),
            *idle_code(folder, code),
        ),
    )
    return _with_surroundings(inspected, folder, rows)


def _config(folder: Path) -> dict[str, Any]:
    if (folder / "config.json").is_file():
        return read_object(folder / "config.json")
    if (folder / "adapter_config.json").is_file():
        raise BadModel(f"{folder} holds an adapter (adapter_config.json), not a base model.")
    if (folder / "model_index.json").is_file():
        raise BadModel(
            f"{folder} holds a pipeline of Diffusers (model_index.json), of several models. "
            "Register one of its folders, such as text_encoder."
        )
    raise BadModel(
        f"no config.json in {folder}: this is not a model folder as save_pretrained writes it."
    )


def _of_embeddings(inspected: Inspected, rows: int | None) -> Iterator[Finding]:
    """Models of several kinds of input may have several vocabularies."""
    said = inspected.vocab_size
    if inspected.modality == "text" and None not in (said, rows) and said != rows:
        yield Finding(
            code="vocabulary_size_differs",
            message=f"config.json says vocab_size {said:,}, but the weights have rows for "
            f"{rows:,} tokens.",
            fix="Take the config.json that was saved with these weights, or set its vocab_size to "
            "what the weights have.",
            level=ERROR,
            file="config.json",
        )


def _with_surroundings(inspected: Inspected, folder: Path, rows: int | None) -> Inspected:
    """Add what lies beside the weights: tokenizer, chat template, model card, total size."""
    tokenizer = read_tokenizer(folder, rows)
    found = (*inspected.findings, *tokenizer.findings)
    if tokenizer.facts is None and inspected.modality == "text":
        found = (*found, NO_TOKENIZER)
    return replace(
        inspected,
        has_tokenizer=tokenizer.facts is not None,
        has_chat_template=tokenizer.has_chat_template,
        tokenizer=tokenizer.facts,
        card=read_card(folder),
        findings=(*found, *_of_ids(inspected.config or {}, rows)),
        size_bytes=sum(file.stat().st_size for file in files.regular_files(folder)),
    )


NO_TOKENIZER = Finding(
    code="no_tokenizer",
    message="There is no tokenizer beside the weights: text cannot be given to the model.",
    fix="Put the tokenizer's files (tokenizer.json, tokenizer_config.json) beside the weights, and "
    "register the folder again.",
)


def _of_ids(config: dict[str, Any], rows: int | None) -> Iterator[Finding]:
    """Tokens that config.json names by their number."""
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        value = config.get(name)
        ids = value if isinstance(value, list) else [value]
        beyond = [i for i in ids if isinstance(i, int) and rows is not None and i >= rows]
        if beyond:
            yield Finding(
                code="token_id_beyond_embeddings",
                message=f"config.json says {name} {beyond[0]}, but the weights have rows for "
                f"{rows:,} tokens.",
                fix=f"Correct {name} in config.json.",
                level=ERROR,
                file="config.json",
            )


def _gguf_file(path: Path) -> Inspected:
    if path.suffix.lower() != ".gguf":
        raise BadModel(f"'{path}' is a file; a model is a folder, or a .gguf file.")
    if gguf.is_part(path):
        raise BadModel(f"'{path}' is only a part of a model. Register the folder that has all.")
    return replace(gguf.gguf_model([path]), size_bytes=path.stat().st_size)


def _gguf_folder(folder: Path, paths: list[Path]) -> Inspected:
    inspected = gguf.gguf_model(paths)
    if (folder / "config.json").is_file():
        inspected = gguf.with_config(inspected, from_config(_config(folder)))
    card = read_card(folder)
    findings = [*inspected.findings, *pickles(folder), *idle_code(folder, None)]
    return replace(
        inspected,
        card=replace(card, license=card.license or inspected.card.license),
        findings=tuple(findings),
        size_bytes=sum(file.stat().st_size for file in files.regular_files(folder)),
    )
