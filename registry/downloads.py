"""A dataset's files on their way out: as they lie, a part at a time."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.http import StreamingHttpResponse
from django.utils.http import content_disposition_header

from registry import storage
from registry.files import BadPath, regular_files, relative_name
from registry.models import Dataset

_BLOCK = 1 << 20


class NoFiles(ValueError):
    """There is nothing to download. The message says why."""


def answer(dataset: Dataset) -> StreamingHttpResponse:
    """Raises NoFiles."""
    if not dataset.storage_path:
        raise NoFiles("The dataset has no files.")
    place = Path(dataset.storage_path)
    try:
        storage.check_links(place)
        files = regular_files(place)
    except BadPath as error:
        raise NoFiles(str(error)) from error
    if not files:
        raise NoFiles("The dataset has no files.")
    name = re.sub(r"[^\w.-]+", "-", f"{dataset.name}-{dataset.version}").strip("-") or "dataset"
    if len(files) == 1:
        [file] = files
        response = _streamed(_blocks(file), "application/octet-stream", f"{name}-{file.name}")
        response["Content-Length"] = str(file.stat().st_size)
        return response
    return _streamed(_zipped(place, files), "application/zip", f"{name}.zip")


def _streamed(blocks: Iterator[bytes], content_type: str, name: str) -> StreamingHttpResponse:
    response = StreamingHttpResponse(blocks, content_type=content_type)
    response["Content-Disposition"] = content_disposition_header(True, name)
    return response


def _blocks(file: Path) -> Iterator[bytes]:
    with open(file, "rb") as source:
        while block := source.read(_BLOCK):
            yield block


def _zipped(place: Path, files: list[Path]) -> Iterator[bytes]:
    """Not compressed: rows that are large are packed already, and the wire is not what is slow."""
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED) as archive:
        for file in files:
            described = zipfile.ZipInfo.from_file(file, relative_name(place, file))
            with open(file, "rb") as source, archive.open(described, "w", force_zip64=True) as out:
                while block := source.read(_BLOCK):
                    out.write(block)
                    yield pipe.taken()
            yield pipe.taken()
    yield pipe.taken()


class _Pipe(io.RawIOBase):
    """What is written can be taken once. It cannot be sought in, so the archive has no need to."""

    def __init__(self) -> None:
        self.waiting = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, block: Any) -> int:
        self.waiting += block
        return len(block)

    def taken(self) -> bytes:
        block = bytes(self.waiting)
        self.waiting.clear()
        return block
