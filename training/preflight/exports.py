"""What can be exported, and what that needs beside the training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from training.preflight.facts import Experiment
from training.preflight.findings import Finding, Rule, error, listed, warning
from training.preflight.hardware import MIB
from training.preflight.memory import MemoryEstimate
from training.preflight.shape import Shape
from training.trainer.spec import EXPORTS, GGUF_MODEL_TYPES, GGUF_ROPE_TYPES

DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
_GGUF_BYTES = 2 + 34 / 32  # f16, and q8_0 with its scales, for each parameter
_SLACK_BYTES = 256 * MIB  # what the libraries take themselves


def export_is_not_known(e: Experiment) -> Iterator[Finding]:
    for kind in dict.fromkeys(e.export):
        if kind not in EXPORTS:
            yield error(f"Export '{kind}' is not available. Available: {listed(EXPORTS)}.")


def merged_is_nothing_new(e: Experiment) -> Iterator[Finding]:
    if "merged" in e.export and e.tuning == "full":
        yield warning(
            f"Export 'merged' is the same as 'safetensors' here, as recipe '{e.recipe.name}' "
            "trains the model itself and no adapter. It is not made a second time."
        )


def quantized_model_is_not_merged(e: Experiment) -> Iterator[Finding]:
    """An adapter on a base model that is quantized itself (GPTQ, AWQ) only goes with that one."""
    kinds = tuple(kind for kind in ("merged", "onnx", "gguf") if kind in e.export)
    if kinds and e.model.quantized:
        yield error(
            f"Export {_quoted(kinds)} needs the weights of model '{e.model.name}' unquantized. "
            "Choose its original, or export safetensors alone."
        )


def gguf_has_no_place_for_it(e: Experiment) -> Iterator[Finding]:
    if "gguf" not in e.export:
        return
    if not e.has_token_head:
        yield error(
            f"Export 'gguf' is for models that write text; recipe '{e.recipe.name}' trains one "
            "that chooses labels. Export onnx instead."
        )
        return
    family = e.model.family
    if family and family not in GGUF_MODEL_TYPES:
        yield error(
            f"Export 'gguf' is written for {listed(GGUF_MODEL_TYPES)}; model '{e.model.name}' is "
            f"{family}. Leave gguf out."
        )
    scaling = rope_type(e.model.config or {})
    if scaling not in GGUF_ROPE_TYPES:
        yield error(
            f"Export 'gguf' cannot be written with rotary positions scaled by {scaling}, as those "
            f"of model '{e.model.name}' are. Leave gguf out."
        )
    kind = e.model.tokenizer_kind
    if kind and kind != "BPE":
        yield error(
            f"Export 'gguf' needs a BPE tokenizer; that of model '{e.model.name}' is of the kind "
            f"{kind}. Leave gguf out."
        )


def rope_type(config: dict[str, Any]) -> str:
    """How rotary positions are scaled; older configs have other words for it."""
    for name in ("rope_parameters", "rope_scaling"):
        said = config.get(name)
        for key in ("rope_type", "type"):
            if isinstance(said, dict) and isinstance(said.get(key), str):
                return str(said[key])
    return "default"


def disk_bytes(e: Experiment, shape: Shape, memory: MemoryEstimate) -> int:
    """Of all exports together."""
    return sum(sizes_bytes(e, shape, memory).values())


def sizes_bytes(e: Experiment, shape: Shape, memory: MemoryEstimate) -> dict[str, int]:
    """Of each export on disk, 0 for one that is not made."""
    whole = shape.total_params
    sizes = {
        "safetensors": memory.trained_bytes,
        "merged": 0 if e.tuning == "full" else whole * DTYPE_BYTES.get(e.train.dtype, 4),
        "onnx": whole * 4,
        "gguf": int(whole * _GGUF_BYTES),
    }
    return {kind: sizes.get(kind, 0) for kind in dict.fromkeys(("safetensors", *e.export))}


def host_bytes(e: Experiment, shape: Shape, memory: MemoryEstimate, kind: str) -> int:
    """Host memory while this export is made: as `trainer.exports` asks for it, and on the CPU the
    trained model beside it."""
    copies = {
        "merged": 0
        if e.tuning == "full"
        else shape.total_params * DTYPE_BYTES.get(e.train.dtype, 4),
        "onnx": 2 * shape.total_params * 4,
        "gguf": shape.total_params * 4,
    }
    if not copies.get(kind):
        return 0
    trained = memory.weights_bytes if e.resources.gpus == 0 else 0
    return copies[kind] + trained + _SLACK_BYTES


def exports_without_room(
    e: Experiment, shape: Shape, memory: MemoryEstimate
) -> Iterator[tuple[str, float]]:
    """The exports for which no machine has enough memory, with the GiB that each needs."""
    has = e.resources.host_memory_gb
    if has is None:
        return
    for kind in dict.fromkeys(e.export):
        needs = host_bytes(e, shape, memory, kind) / 2**30
        if needs > has:
            yield kind, needs


def _quoted(kinds: tuple[str, ...]) -> str:
    return listed(tuple(f"'{kind}'" for kind in kinds))


RULES: tuple[Rule, ...] = (
    export_is_not_known,
    merged_is_nothing_new,
    quantized_model_is_not_merged,
    gguf_has_no_place_for_it,
)
