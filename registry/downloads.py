"""A dataset's files on their way out: as they lie, a part at a time."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.http import content_disposition_header

from api import downloads
from registry import storage
from registry.files import BadPath, regular_files, relative_name, seen
from registry.models import Dataset
from registry.verification import manifest_path

_BLOCK = 1 << 20


class NoFiles(ValueError):
    """There is nothing to download. The message says why."""


def answer(request: HttpRequest, dataset: Dataset) -> HttpResponseBase:
    """One file as it is, or a range of it; several in a zip archive. Raises NoFiles."""
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
        sha256 = _known_hash(dataset, place, file)
        return downloads.file(
            request, file, root=_root_of(file), sha256=sha256, name=f"{name}-{file.name}"
        )
    headers = {
        "Content-Disposition": content_disposition_header(True, f"{name}.zip") or "",
        "Content-Type": "application/zip",
        "Cache-Control": "private, no-cache",
        "X-Content-Type-Options": "nosniff",
    }
    return downloads.sent(request, [], _zipped(place, files), headers, 200)


def _root_of(file: Path) -> Path:
    """The storage root that the file lies in, also where it is a link. Raises NoFiles where the
    operator has taken that away."""
    place = file.resolve()
    for root in storage.roots():
        if root in place.parents:
            return root
    raise NoFiles(f"'{file.name}' is not below one of the storage roots any more.")


def _known_hash(dataset: Dataset, place: Path, file: Path) -> str:
    """ "" where the file does not look as it did when it was hashed: it may be another by now."""
    path, name = manifest_path(dataset), relative_name(place, file)
    looked = storage.read_seen(storage.seen_path(path)).get(name)
    if looked is None or looked != seen(file.stat()):
        return ""
    manifest = storage.read_manifest(path) or {}
    return manifest[name]["sha256"] if name in manifest else ""


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
