"""Compressed files, read as they are unpacked and no further than is sound."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from pathlib import Path
from typing import Any, BinaryIO, cast

from registry.doctor.formats import packing_of

# Text shrinks to a fifth, tables of repeated words to a fiftieth. What grows more is a bomb.
MOST_TIMES = 250
SEEN_BYTES = 65_536  # can be looked at before anything is read
ALWAYS_BYTES = 64 * 1024 * 1024


class Damaged(Exception):
    """The file cannot be unpacked, or not to its end. ``code`` is that of a finding."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def open_rows(path: Path) -> BinaryIO:
    """The file as it was before it was compressed. Raises OSError; reading raises Damaged."""
    packing = packing_of(path.name)
    if not packing:
        return open(path, "rb", buffering=SEEN_BYTES)
    limit = max(path.stat().st_size * MOST_TIMES, ALWAYS_BYTES)
    return io.BufferedReader(_Unpacked(_opened(path, packing), limit), 1 << 20)


def _opened(path: Path, packing: str) -> Any:
    if packing == ".gz":
        return gzip.open(path, "rb")
    if packing == ".bz2":
        return bz2.open(path, "rb")
    if packing == ".xz":
        return lzma.open(path, "rb")
    import pyarrow as pa

    return pa.CompressedInputStream(pa.OSFile(str(path), "rb"), "zstd")


class _Unpacked(io.RawIOBase):
    def __init__(self, source: Any, limit: int) -> None:
        self.source = source
        self.limit = limit
        self.read_bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            block = self.source.read(len(buffer))
        except (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError) as error:
            # Arrow's own errors are OSErrors and ValueErrors.
            raise Damaged("damaged", f"It cannot be unpacked: {error}.") from error
        self.read_bytes += len(block)
        if self.read_bytes > self.limit:
            raise Damaged(
                "bomb",
                f"It unpacks to more than {self.limit // 1024 // 1024:,} MB, {MOST_TIMES} times "
                "its size or more: this is no file of rows.",
            )
        cast(memoryview, buffer)[: len(block)] = block
        return len(block)

    def close(self) -> None:
        self.source.close()
        super().close()
