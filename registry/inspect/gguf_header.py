"""What a GGUF file says of itself before its values: metadata, and name, type and shape of tensors.

Nothing it says is believed: counts and lengths are compared with the size of the file before
anything is read or kept, and however they lie, reading takes seconds and some megabytes. (The gguf
package maps the whole file and makes an object of every token.)
"""

from __future__ import annotations

import math
import os
import struct
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from api.plain import plain_text
from registry.inspect.facts import BadModel

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MOST_KEYS = 65_536
MOST_TENSORS = 262_144
MOST_DIMENSIONS = 4
# Strings of all arrays together; vocabularies and their merges have up to a million.
MOST_STRINGS = 4_000_000
LONGEST_NAME = 65_535
# Chat templates are strings; what is longer is no fact.
LONGEST_KEPT = 1_000_000
MOST_KEPT_BYTES = 64_000_000
DEFAULT_ALIGNMENT = 32

# Type -> format of struct.
SCALARS = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}
STRING, ARRAY = 8, 9

# Type of a tensor -> name, values in a block, bytes of a block (ggml's table).
TENSOR_TYPES = {
    0: ("f32", 1, 4),
    1: ("f16", 1, 2),
    2: ("q4_0", 32, 18),
    3: ("q4_1", 32, 20),
    6: ("q5_0", 32, 22),
    7: ("q5_1", 32, 24),
    8: ("q8_0", 32, 34),
    9: ("q8_1", 32, 40),
    10: ("q2_k", 256, 84),
    11: ("q3_k", 256, 110),
    12: ("q4_k", 256, 144),
    13: ("q5_k", 256, 176),
    14: ("q6_k", 256, 210),
    15: ("q8_k", 256, 292),
    16: ("iq2_xxs", 256, 66),
    17: ("iq2_xs", 256, 74),
    18: ("iq3_xxs", 256, 98),
    19: ("iq1_s", 256, 50),
    20: ("iq4_nl", 32, 18),
    21: ("iq3_s", 256, 110),
    22: ("iq2_s", 256, 82),
    23: ("iq4_xs", 256, 136),
    24: ("i8", 1, 1),
    25: ("i16", 1, 2),
    26: ("i32", 1, 4),
    27: ("i64", 1, 8),
    28: ("f64", 1, 8),
    29: ("iq1_m", 256, 56),
    30: ("bf16", 1, 2),
    34: ("tq1_0", 256, 54),
    35: ("tq2_0", 256, 66),
    39: ("mxfp4", 32, 17),
    40: ("nvfp4", 64, 36),
    41: ("q1_0", 128, 18),
}


class Count(NamedTuple):
    """Of an array only its length is kept."""

    items: int


class GgufTensor(NamedTuple):
    type_name: str
    shape: tuple[int, ...]

    @property
    def values(self) -> int:
        return math.prod(self.shape)


class Header(NamedTuple):
    facts: dict[str, Any]
    tensors: dict[str, GgufTensor]


def read_header(path: Path) -> Header:
    """Raises BadModel where the file is cut short or lies."""
    try:
        with open(path, "rb", buffering=1 << 20) as file:
            return _Reader(file, path.name).header()
    except OSError as error:
        raise BadModel(f"{path.name} cannot be read: {error.strerror}.") from error


class _Reader:
    """Goes through the file once and knows how much of it is left."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.file = file
        self.name = name
        self.size = os.fstat(file.fileno()).st_size
        self.position = 0
        self.strings_left = MOST_STRINGS
        self.bytes_left = MOST_KEPT_BYTES

    def header(self) -> Header:
        if self.file.read(4) != MAGIC:
            raise BadModel(f"{self.name} is not a GGUF file.")
        self.position = 4
        version = self.number("<I")
        if version not in VERSIONS:
            raise BadModel(f"{self.name} is GGUF of version {version}; 2 and 3 are read here.")
        tensors = self.count(MOST_TENSORS, "tensors", smallest_bytes=24)
        keys = self.count(MOST_KEYS, "keys", smallest_bytes=13)
        facts = {}
        for _ in range(keys):
            name = self.text(LONGEST_NAME)
            facts[name] = self.value(self.number("<I"))
        return Header(facts, self.tensors(tensors, facts))

    def tensors(self, count: int, facts: dict[str, Any]) -> dict[str, GgufTensor]:
        found: dict[str, GgufTensor] = {}
        end = 0
        for _ in range(count):
            name = self.text(LONGEST_NAME)
            tensor, offset = self.tensor(name)
            found[name] = tensor
            end = max(end, offset + self.bytes_of(tensor, name))
        alignment = facts.get("general.alignment", DEFAULT_ALIGNMENT)
        if not isinstance(alignment, int) or not 0 < alignment <= 1 << 20:
            raise self.lie("its alignment is no number of bytes")
        begin = -(-self.position // alignment) * alignment
        if count and begin + end > self.size:
            raise BadModel(
                f"{self.name} is cut short: its header promises {begin + end:,} bytes, "
                f"there are {self.size:,}."
            )
        return found

    def tensor(self, name: str) -> tuple[GgufTensor, int]:
        dimensions = self.number("<I")
        if dimensions > MOST_DIMENSIONS:
            raise self.lie(f"tensor '{name[:100]}' has {dimensions} dimensions")
        shape = tuple(self.number("<Q") for _ in range(dimensions))
        kind, offset = self.number("<I"), self.number("<Q")
        if kind not in TENSOR_TYPES:
            raise BadModel(f"{self.name}, tensor '{name[:100]}': unknown type {kind}.")
        return GgufTensor(TENSOR_TYPES[kind][0], shape), offset

    def bytes_of(self, tensor: GgufTensor, name: str) -> int:
        values, size = _BLOCKS[tensor.type_name]
        if tensor.shape and tensor.shape[0] % values:
            raise self.lie(f"the rows of tensor '{name[:100]}' do not fill its blocks")
        return tensor.values // values * size

    def value(self, kind: int, depth: int = 0) -> Any:
        if kind in SCALARS:
            value = self.number(SCALARS[kind])
            return value if not isinstance(value, float) or math.isfinite(value) else None
        if kind == STRING:
            return self.text(LONGEST_KEPT, cut=True)
        if kind == ARRAY and depth == 0:
            return self.array()
        raise self.lie(f"a value is of unknown type {kind}")

    def array(self) -> Count:
        """Skips it: the tokens of a vocabulary are of no interest here, only how many there are."""
        kind, items = self.number("<I"), self.number("<Q")
        if kind in SCALARS:
            self.skip(items * struct.calcsize(SCALARS[kind]))
        elif kind == STRING:
            if items > self.strings_left or items * 8 > self.size - self.position:
                raise self.lie(f"an array has {items:,} strings")
            self.strings_left -= items
            for _ in range(items):
                self.skip(self.number("<Q"))
        else:
            raise self.lie(f"an array is of type {kind}")
        return Count(items)

    def count(self, most: int, what: str, *, smallest_bytes: int) -> int:
        count: int = self.number("<Q")
        if count > most or count * smallest_bytes > self.size:
            raise self.lie(f"it would have {count:,} {what}")
        return count

    def number(self, form: str) -> Any:
        size = struct.calcsize(form)
        return struct.unpack(form, self.read(size))[0]

    def text(self, longest: int, *, cut: bool = False) -> str:
        length = self.number("<Q")
        if length > longest and not cut:
            raise self.lie(f"a name has {length:,} bytes")
        kept = self.read(min(length, longest))
        self.bytes_left -= len(kept)
        if self.bytes_left < 0:
            raise self.lie(f"its names and texts have more than {MOST_KEPT_BYTES:,} bytes")
        self.skip(length - len(kept))
        return plain_text(kept.decode("utf-8", "replace"))

    def read(self, size: int) -> bytes:
        found = self.file.read(size)
        if len(found) < size:
            raise BadModel(f"{self.name} is cut short: it ends inside its header.")
        self.position += size
        return found

    def skip(self, size: int) -> None:
        if size > self.size - self.position:
            raise BadModel(f"{self.name} is cut short: it ends inside its header.")
        if size < 4096:  # faster than a seek, which empties the buffer
            self.file.read(size)
        else:
            self.file.seek(size, os.SEEK_CUR)
        self.position += size

    def lie(self, what: str) -> BadModel:
        return BadModel(f"{self.name} is damaged: {what}.")


_BLOCKS = {name: (values, size) for name, values, size in TENSOR_TYPES.values()}
