"""The header of a safetensors file: names, types and shapes of its tensors, without their values.

The file begins with eight bytes, the length of the header (little endian), then the header as JSON,
then the values. Nothing it says is believed before it has been compared with the size of the file.
"""

from __future__ import annotations

import json
import math
import os
import struct
from pathlib import Path
from typing import Any, NamedTuple

from registry.inspect.facts import BadModel

# The format allows 100 MB; the shards of the largest models have headers of one or two. Python
# takes about ten times as much while it reads.
LARGEST_HEADER_BYTES = 32_000_000
MOST_DIMENSIONS = 32
DTYPE_BITS = {
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "C64": 64,
    "F64": 64,
    "I64": 64,
    "U64": 64,
}


class Tensor(NamedTuple):
    dtype: str
    shape: tuple[int, ...]

    @property
    def values(self) -> int:
        return math.prod(self.shape)


def read_header(path: Path) -> dict[str, Tensor]:
    """The tensors of the file by name. Raises BadModel where the file is cut short or lies."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            length = _header_length(file.read(8), size, path.name)
            raw = file.read(length)
    except OSError as error:
        raise BadModel(f"{path.name} cannot be read: {error.strerror}.") from error
    try:
        header = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        raise BadModel(f"{path.name} is damaged: its header is not JSON.") from None
    if not isinstance(header, dict):
        raise BadModel(f"{path.name} is damaged: its header is not an object.")
    header.pop("__metadata__", None)
    return _tensors(header, values_bytes=size - 8 - length, name=path.name)


def _header_length(first: bytes, size: int, name: str) -> int:
    if len(first) < 8:
        raise BadModel(f"{name} is not a safetensors file: it has only {size} bytes.")
    (length,) = struct.unpack("<Q", first)
    if length > LARGEST_HEADER_BYTES:
        raise BadModel(f"{name} is not a safetensors file: its header would be too long.")
    if length > size - 8:
        raise BadModel(f"{name} is cut short: it ends inside its header.")
    return int(length)


def _tensors(header: dict[str, Any], *, values_bytes: int, name: str) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    spans: list[tuple[int, int]] = []
    for key, entry in header.items():
        tensor, start, end = _tensor(entry, f"{name}, tensor '{key[:100]}'")
        tensors[key] = tensor
        spans.append((start, end))
    position = 0
    for start, end in sorted(spans):
        if start != position:
            raise BadModel(f"{name} is damaged: its tensors overlap or leave gaps.")
        position = end
    if position > values_bytes:
        raise BadModel(
            f"{name} is cut short: its header promises {position:,} bytes of values, "
            f"there are {values_bytes:,}."
        )
    if position < values_bytes:
        raise BadModel(f"{name} is damaged: {values_bytes - position:,} bytes belong to no tensor.")
    return tensors


def _tensor(entry: Any, where: str) -> tuple[Tensor, int, int]:
    if not isinstance(entry, dict):
        raise BadModel(f"{where}: its header entry is not an object.")
    dtype: Any = entry.get("dtype")
    shape: Any = entry.get("shape")
    span: Any = entry.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in DTYPE_BITS:
        raise BadModel(f"{where}: unknown type {str(dtype)[:30]!r}.")
    if not _are_sizes(shape) or len(shape) > MOST_DIMENSIONS:
        raise BadModel(f"{where}: its shape is not a list of sizes.")
    if not _are_sizes(span) or len(span) != 2 or span[0] > span[1]:
        raise BadModel(f"{where}: its offsets are not a start and an end.")
    tensor = Tensor(dtype, tuple(shape))
    if tensor.values * DTYPE_BITS[dtype] != (span[1] - span[0]) * 8:
        raise BadModel(f"{where}: its shape does not fit its {span[1] - span[0]:,} bytes.")
    return tensor, span[0], span[1]


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(item, int) and not isinstance(item, bool) and 0 <= item < 2**62 for item in value
    )
