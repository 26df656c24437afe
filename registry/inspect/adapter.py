"""An adapter folder as PEFT writes it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from registry import files
from registry.inspect.card import read_card
from registry.inspect.facts import ERROR, BadModel, Finding, InspectedAdapter
from registry.inspect.json_file import read_object
from registry.inspect.safetensors_header import Tensor, read_header
from registry.inspect.weights import count_dtypes, pickles

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
MOST_TARGETS = 1000
# Which dimension of these tensors is the rank.
RANK_OF = {".lora_A.weight": 0, ".lora_B.weight": 1, ".lora_embedding_A": 0, ".lora_embedding_B": 1}
_LARGEST = 2**31 - 1


def adapter_folder(folder: Path) -> InspectedAdapter:
    """Read what is to know of the adapter without loading it. Raises BadModel, and nothing else."""
    try:
        return _adapter(folder)
    except files.BadPath as error:
        raise BadModel(str(error)) from error
    except OSError as error:
        raise BadModel(f"'{folder}' cannot be read: {error.strerror}.") from error


def _adapter(folder: Path) -> InspectedAdapter:
    if not (folder / CONFIG).is_file():
        raise BadModel(f"There is no {CONFIG} in {folder}: PEFT writes one beside its weights.")
    config = read_object(folder / CONFIG)
    if not (folder / WEIGHTS).is_file():
        raise BadModel(
            f"There is no {WEIGHTS} in {folder}. An adapter_model.bin is a pickle, which is never "
            "opened: save the adapter with safe_serialization=True."
        )
    tensors = read_header(folder / WEIGHTS)
    if not tensors:
        raise BadModel(f"{WEIGHTS} holds no tensors.")
    return InspectedAdapter(
        config=config,
        method=_text(config.get("peft_type"), 20).lower() or "unknown",
        base_model=_text(config.get("base_model_name_or_path"), 1000),
        r=_size(config.get("r")),
        lora_alpha=_size(config.get("lora_alpha")),
        target_modules=_targets(config.get("target_modules")),
        params=sum(tensor.values for tensor in tensors.values()),
        dtypes=count_dtypes(tensors),
        weight_files=(WEIGHTS,),
        card=read_card(folder),
        findings=(*_of_ranks(config, tensors), *_of_method(config, tensors), *pickles(folder)),
    )


def _of_ranks(config: dict[str, Any], tensors: dict[str, Tensor]) -> Iterator[Finding]:
    """Where a tensor has another rank than the config gives its module."""
    r = _size(config.get("r"))
    patterns = config.get("rank_pattern")
    if r is None or (isinstance(patterns, dict) and patterns):  # each module may have its own
        return
    wrong = [
        f"{name[:120]} {list(tensor.shape)}"
        for name, tensor in tensors.items()
        for part, dimension in RANK_OF.items()
        if name.endswith(part) and (len(tensor.shape) <= dimension or tensor.shape[dimension] != r)
    ]
    if wrong:
        yield Finding(
            code="rank_differs",
            message=f"{CONFIG} says rank {r}, but {len(wrong)} tensors have another: {wrong[0]}.",
            fix="Take the configuration that was saved with these weights.",
            level=ERROR,
            file=WEIGHTS,
        )


def _of_method(config: dict[str, Any], tensors: dict[str, Tensor]) -> Iterator[Finding]:
    method = _text(config.get("peft_type"), 20)
    if method == "LORA" and not any(name.endswith(tuple(RANK_OF)) for name in tensors):
        yield Finding(
            code="no_lora_weights",
            message=f"{CONFIG} says LORA, but {WEIGHTS} has no tensors of LoRA.",
            fix="Save the adapter again with PEFT.",
            level=ERROR,
            file=WEIGHTS,
        )
    if config.get("auto_mapping") and isinstance(config["auto_mapping"], dict):
        library = _text(config["auto_mapping"].get("parent_library"), 200)
        if library and not library.startswith("transformers."):
            yield Finding(
                code="base_needs_code",
                message=f"It was made for a model of {library[:100]}, which Transformers itself "
                "does not know.",
                fix="It can be used with a base model whose code has been approved.",
                file=CONFIG,
            )


def _targets(value: Any) -> list[str] | str:
    if isinstance(value, list):
        return [_text(item, 200) for item in value if _text(item, 200)][:MOST_TARGETS]
    return _text(value, 1000)


def _text(value: Any, longest: int) -> str:
    return value[:longest] if isinstance(value, str) else ""


def _size(value: Any) -> int | None:
    is_size = isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _LARGEST
    return value if is_size else None
