"""Which files hold the weights, whether all are there, and how many parameters they hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from registry.inspect.config import bits_of
from registry.inspect.facts import BadModel, Finding
from registry.inspect.json_file import read_object
from registry.inspect.safetensors_header import DTYPE_BITS, Tensor, read_header

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
# Reading one can run code, so none is ever opened. (.h5 and .msgpack hold weights for others.)
PICKLES = frozenset(
    {
        *(".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".dill", ".npy", ".npz"),
        *(".h5", ".msgpack", ".mar", ".nemo", ".tar"),
    }
)
# The largest models have some hundred thousand tensors, and an index of ten megabytes.
MOST_TENSORS = 1_000_000
LARGEST_INDEX_BYTES = 64_000_000
# Where the families of models keep one row for each token.
EMBEDDINGS = (
    "embed_tokens.weight",
    "wte.weight",
    "word_embeddings.weight",
    "tok_embeddings.weight",
    "embed_in.weight",
    "shared.weight",
)
DTYPES = {
    "F64": "fp64",
    "F32": "fp32",
    "F16": "fp16",
    "BF16": "bf16",
    "F8_E4M3": "fp8",
    "F8_E5M2": "fp8",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}


class Weights(NamedTuple):
    files: tuple[str, ...]
    tensors: dict[str, Tensor]
    findings: tuple[Finding, ...] = ()


def read_weights(folder: Path) -> Weights:
    """The tensors of all shards. Raises BadModel where a shard or a tensor is missing."""
    if (folder / INDEX).is_file():
        return _read_shards(folder)
    if (folder / SINGLE).is_file():
        others = tuple(_surplus_files(folder, {SINGLE}))
        return Weights((SINGLE,), read_header(folder / SINGLE), others)
    raise BadModel(_why_no_weights(folder))


def embedding_rows(tensors: dict[str, Tensor]) -> int | None:
    """For how many tokens the weights have a row; None where none of them is known to be that."""
    rows = [
        tensor.shape[0]
        for name, tensor in tensors.items()
        if name.endswith(EMBEDDINGS) and len(tensor.shape) == 2
    ]
    return max(rows, default=None)


def _read_shards(folder: Path) -> Weights:
    listed = read_object(folder / INDEX, LARGEST_INDEX_BYTES).get("weight_map")
    if not isinstance(listed, dict) or not listed:
        raise BadModel(f"{INDEX} has no weight_map.")
    shards = set(listed.values()) if all(isinstance(s, str) for s in listed.values()) else {""}
    # A name with a folder in it could lead anywhere.
    if any(Path(shard).name != shard or not shard.endswith(".safetensors") for shard in shards):
        raise BadModel(f"{INDEX} names files that are not safetensors files beside it.")
    if missing := sorted(shard for shard in shards if not (folder / shard).is_file()):
        raise BadModel(f"{len(missing)} of {len(shards)} shards are missing: {_some(missing)}.")
    tensors: dict[str, Tensor] = {}
    for shard in sorted(shards):
        tensors |= read_header(folder / shard)
        if len(tensors) > MOST_TENSORS:
            raise BadModel(f"Its shards hold more than {MOST_TENSORS:,} tensors.")
    if lost := sorted(set(listed) - set(tensors)):
        raise BadModel(f"Tensors that {INDEX} lists are in no shard: {_some(lost)}.")
    findings = [*_surplus_tensors(set(tensors) - set(listed)), *_surplus_files(folder, shards)]
    return Weights(tuple(sorted(shards)), tensors, tuple(findings))


def _surplus_tensors(names: set[str]) -> Iterator[Finding]:
    if names:
        yield Finding(
            code="tensors_not_in_index",
            message=f"{len(names)} tensors are in the shards but not in {INDEX}: "
            f"{_some(sorted(names))}. Loaders that follow the index leave them out.",
            fix="Save the model again, which writes an index that fits.",
            file=INDEX,
        )


def _surplus_files(folder: Path, used: set[str]) -> Iterator[Finding]:
    names = sorted(path.name for path in folder.glob("*.safetensors") if path.name not in used)
    if names:
        yield Finding(
            code="weights_not_used",
            message=f"Weights that are no part of the model lie beside it: {_some(names)}.",
            fix="Remove them if they are left over from another version; they only take room.",
            file=names[0],
        )


def pickles(folder: Path) -> Iterator[Finding]:
    """Files that are reported and never opened."""
    names = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in PICKLES)
    if names:
        yield Finding(
            code="pickle_files",
            message=f"There are files that can run code when they are read ({_some(names)}). They "
            "are never opened here; the safetensors files are used.",
            fix="Remove them: they only take room.",
            file=names[0],
        )


def _why_no_weights(folder: Path) -> str:
    names = [path.name for path in folder.iterdir()]
    if any(name.endswith(".safetensors") and "-of-" in name for name in names):
        return f"There are shards, but no {INDEX} that says which tensor is where."
    if found := sorted(name for name in names if Path(name).suffix.lower() in PICKLES):
        return (
            f"Its weights are pickle files ({_some(found)}), which can run code when they are read "
            "and are never opened here. Save the model with safe_serialization=True."
        )
    return f"There are no weights: neither {SINGLE} nor {INDEX} nor a .gguf file."


def _some(names: Iterable[str]) -> str:
    shown = [name[:120] for name in names]
    return ", ".join(shown[:3]) + (f" and {len(shown) - 3} more" if len(shown) > 3 else "")


def count_dtypes(tensors: dict[str, Tensor]) -> dict[str, int]:
    """How many stored values there are of each type, most first."""
    counts: Counter[str] = Counter()
    for tensor in tensors.values():
        counts[DTYPES.get(tensor.dtype, tensor.dtype.lower())] += tensor.values
    return dict(counts.most_common())


def count_params(tensors: dict[str, Tensor], quantization: dict[str, Any] | None) -> int:
    """The number of parameters: packed weights unpacked, buffers and scales left out."""
    return sum(_params(name, tensor, quantization, tensors) for name, tensor in tensors.items())


def _params(
    name: str, tensor: Tensor, quantization: dict[str, Any] | None, tensors: dict[str, Tensor]
) -> int:
    if _is_buffer(name, tensor):
        return 0
    if quantization is None:
        return tensor.values
    last = name.rpartition(".")[2]
    if last in ("qweight", "weight_packed"):  # GPTQ, AWQ, compressed-tensors
        bits = bits_of(quantization) or 4
        return tensor.values * DTYPE_BITS[tensor.dtype] // bits
    if last.endswith("_blocks") and f"{name.removesuffix('_blocks')}_scales" in tensors:
        return tensor.values * 2  # mxfp4, two weights a byte
    if last.endswith("_scales") and f"{name.removesuffix('_scales')}_blocks" in tensors:
        return 0
    if last in _SCALES or ".quant_state." in name or ".weight." in name:
        return 0
    if tensor.dtype == "U8" and f"{name}.absmax" in tensors:  # bitsandbytes, two weights a byte
        return tensor.values * 2
    return tensor.values


_SCALES = frozenset(
    {
        "qzeros",
        "scales",
        "g_idx",
        "weight_scale",
        "weight_scale_inv",
        "weight_zero_point",
        "weight_shape",
        "weight_g_idx",
        "input_scale",
        "weight_format",
        "SCB",
    }
)


def _is_buffer(name: str, tensor: Tensor) -> bool:
    """Saved by older versions of Transformers, and no parameters: GPT-2's causal mask, rotary
    frequencies, the running statistics of a batch norm."""
    if name.endswith(("rotary_emb.inv_freq", "attn.masked_bias", "attention.masked_bias")):
        return True
    if name.endswith(("running_mean", "running_var", "num_batches_tracked", "position_ids")):
        return True
    return name.endswith(("attn.bias", "attention.bias")) and len(tensor.shape) == 4
