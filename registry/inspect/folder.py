"""A model folder as ``save_pretrained`` writes it, or a GGUF file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from api.plain import plain_text
from registry import files
from registry.inspect.config import from_config
from registry.inspect.facts import BadModel, Inspected
from registry.inspect.json_file import read_object
from registry.inspect.weights import INDEX, SINGLE, count_dtypes, count_params, read_weights

TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
LARGEST_CARD_BYTES = 1_000_000


def model_folder(path: Path) -> Inspected:
    """Read what is to know of the model without loading it. Raises BadModel, and nothing else.

    Only safetensors and GGUF count as weights. Code and pickles are never opened.
    """
    try:
        if path.is_file():
            return _gguf_file(path)
        return _folder(path)
    except files.BadPath as error:
        raise BadModel(str(error)) from error
    except OSError as error:
        raise BadModel(f"'{path}' cannot be read: {error.strerror}.") from error


def _folder(folder: Path) -> Inspected:
    ggufs = sorted(folder.glob("*.gguf"))
    if ggufs and not (folder / SINGLE).exists() and not (folder / INDEX).exists():
        return _with_surroundings(_gguf(ggufs, folder), folder)
    inspected = from_config(_config(folder))
    if inspected.config and inspected.config.get("auto_map"):
        raise BadModel(
            "Its config.json asks for code of its own (auto_map), which is not run here. Take a "
            "model whose architecture Transformers itself knows."
        )
    weights = read_weights(folder)
    if not weights.tensors:
        raise BadModel(f"{weights.files[0]} holds no tensors.")
    dtypes = count_dtypes(weights.tensors)
    quantization = (inspected.config or {}).get("quantization_config")
    inspected = replace(
        inspected,
        params=count_params(weights.tensors, quantization if inspected.quantized else None),
        dtypes=dtypes,
        dtype=inspected.dtype if inspected.quantized and inspected.dtype else next(iter(dtypes)),
        weight_files=weights.files,
    )
    return _with_surroundings(inspected, folder)


def _config(folder: Path) -> dict[str, Any]:
    if (folder / "config.json").is_file():
        return read_object(folder / "config.json")
    if (folder / "adapter_config.json").is_file():
        raise BadModel(f"{folder} holds an adapter (adapter_config.json), not a base model.")
    raise BadModel(
        f"no config.json in {folder}: this is not a model folder as save_pretrained writes it."
    )


def _with_surroundings(inspected: Inspected, folder: Path) -> Inspected:
    """Add what lies beside the weights: tokenizer, chat template, model card, total size."""
    tokenizer_config = folder / "tokenizer_config.json"
    settings = read_object(tokenizer_config) if tokenizer_config.is_file() else {}
    return replace(
        inspected,
        has_tokenizer=any((folder / name).is_file() for name in TOKENIZERS),
        has_chat_template=bool(settings.get("chat_template"))
        or (folder / "chat_template.jinja").is_file()
        or (folder / "chat_template.json").is_file(),
        model_card=_card(folder),
        size_bytes=sum(file.stat().st_size for file in files.regular_files(folder)),
    )


def _card(folder: Path) -> str:
    path = folder / "README.md"
    if not path.is_file():
        return ""
    with open(path, "rb") as file:
        return plain_text(file.read(LARGEST_CARD_BYTES).decode("utf-8", "replace"))


def _gguf_file(path: Path) -> Inspected:
    if path.suffix.lower() != ".gguf":
        raise BadModel(f"'{path}' is a file; a model is a folder, or a .gguf file.")
    return replace(_gguf([path], path.parent), size_bytes=path.stat().st_size)


def _gguf(paths: list[Path], folder: Path) -> Inspected:
    for path in paths:
        with open(path, "rb") as file:
            if file.read(4) != b"GGUF":
                raise BadModel(f"{path.name} is not a GGUF file.")
    has_config = (folder / "config.json").is_file()
    inspected = from_config(_config(folder)) if has_config else Inspected(dtype="gguf")
    return replace(
        inspected, is_gguf=True, dtype="gguf", weight_files=tuple(path.name for path in paths)
    )
