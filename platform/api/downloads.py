"""Files as answers, whole or in a range (RFC 9110 §14), and folders as tar archives.

Nothing is read into memory. What is sent is opened before the first byte goes out, so that it stays
whole whoever removes it meanwhile.
"""

from __future__ import annotations

import base64
import os
import re
import stat
import tarfile
import threading
import weakref
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.http import content_disposition_header, parse_etags

CHUNK_BYTES = 256 * 1024
# Each holds a thread of the web server for as long as it takes; the others are for the pages.
MOST_AT_ONCE = 8
RETRY_SECONDS = 10
# Files of a folder that are open at the same time.
MOST_FILES = 4000
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_places = threading.BoundedSemaphore(MOST_AT_ONCE)


def file(
    request: HttpRequest, path: Path, *, root: Path, sha256: str = "", name: str = ""
) -> HttpResponseBase:
    """The file, or the range that is asked for. Raises Http404 unless it is one below ``root``,
    also where links lead."""
    opened = _open(path, root)
    size = os.fstat(opened.fileno()).st_size
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Disposition": content_disposition_header(True, name or path.name) or "",
        "Content-Type": "application/octet-stream",
        "Cache-Control": "private, no-cache",
        "X-Content-Type-Options": "nosniff",
    }
    tag = ""
    if sha256:
        tag = f'"{sha256}"'
        digest = base64.b64encode(bytes.fromhex(sha256)).decode()
        headers |= {"ETag": tag, "Repr-Digest": f"sha-256=:{digest}:"}
    if tag and tag in parse_etags(request.headers.get("If-None-Match", "")):
        opened.close()
        return HttpResponse(status=304, headers=headers)
    wanted = _range(request, size, tag)
    if wanted is None:
        opened.close()
        return HttpResponse(status=416, headers={**headers, "Content-Range": f"bytes */{size}"})
    first, last = wanted
    headers["Content-Length"] = str(last - first + 1)
    if (first, last) != (0, size - 1):
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    status = 206 if "Content-Range" in headers else 200
    return sent(request, [opened], _part(opened, first, last), headers, status)


def archive(request: HttpRequest, folder: Path, *, root: Path, name: str) -> HttpResponseBase:
    """All files of the folder as ``name``.tar, uncompressed: weights do not compress, and so its
    length is known. Raises Http404 unless there is such a folder below ``root``."""
    try:
        place = folder.resolve(strict=True)
    except OSError as error:
        raise Http404 from error
    if not place.is_dir() or not place.is_relative_to(root.resolve()):
        raise Http404
    paths = sorted(path for path in place.rglob("*") if path.is_file() and not path.is_symlink())
    return files_archive(request, {str(p.relative_to(place)): p for p in paths}, root, name)


def files_archive(
    request: HttpRequest, paths: dict[str, Path], root: Path, name: str
) -> HttpResponseBase:
    """These files, by their names in the archive. Raises Http404 where one is not below ``root``,
    or there is none."""
    if not paths or len(paths) > MOST_FILES:
        raise Http404
    members: list[tuple[bytes, BinaryIO, int]] = []
    with ExitStack() as stack:
        for inner, path in paths.items():
            opened = stack.enter_context(_open(path, root))
            facts = os.fstat(opened.fileno())
            entry = tarfile.TarInfo(f"{name}/{inner}")
            entry.size, entry.mtime, entry.mode = facts.st_size, int(facts.st_mtime), 0o644
            members.append((entry.tobuf(tarfile.PAX_FORMAT), opened, facts.st_size))
        stack.pop_all()
    length = sum(len(head) + _padded(size) for head, _, size in members) + 2 * tarfile.BLOCKSIZE
    headers = {
        "Content-Disposition": content_disposition_header(True, f"{name}.tar") or "",
        "Content-Type": "application/octet-stream",
        "Content-Length": str(length),
        "Cache-Control": "private, no-cache",
        "X-Content-Type-Options": "nosniff",
    }
    return sent(request, [opened for _, opened, _ in members], _tar(members), headers, 200)


def _open(path: Path, root: Path) -> BinaryIO:
    try:
        place = path.resolve(strict=True)
        if not place.is_relative_to(root.resolve()):
            raise Http404
        # Without waiting for a writer, should it be a pipe.
        opened = open(os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")  # noqa: SIM115
    except OSError as error:
        raise Http404 from error
    if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
        opened.close()
        raise Http404
    return opened


def _range(request: HttpRequest, size: int, tag: str) -> tuple[int, int] | None:
    """First and last byte; the whole file where no range is asked for, or several, or one of
    another version (If-Range); None where there is no such byte."""
    whole = (0, size - 1)
    found = _RANGE.fullmatch(request.headers.get("Range", "").replace(" ", ""))
    condition = request.headers.get("If-Range", "")
    if found is None or found.groups() == ("", "") or (condition and condition != tag):
        return whole
    begin, end = found.groups()
    if not begin:
        return (max(size - int(end), 0), size - 1) if int(end) and size else None
    first, last = int(begin), min(int(end), size - 1) if end else size - 1
    if end and int(end) < first:
        return whole  # no range at all (RFC 9110 §14.1.1)
    return (first, last) if first < size else None


def sent(
    request: HttpRequest,
    opened: list[BinaryIO],
    parts: Iterator[bytes],
    headers: dict[str, str],
    status: int,
) -> HttpResponseBase:
    """``parts`` as an answer, while there is a place for one more; ``opened`` is closed when it is
    over."""
    if request.method == "HEAD":
        _close(opened)
        return HttpResponse(status=status, headers=headers)
    if not _places.acquire(blocking=False):
        _close(opened)
        words = "Too many downloads at the same time. Try again in a moment."
        after = {"Retry-After": str(RETRY_SECONDS)}
        return JsonResponse({"error": words}, status=503, headers=after)
    return _Download(opened, parts, headers, status)


class _Download(StreamingHttpResponse):
    """Gives its files and its place back when it is over, also where nobody reads to the end."""

    def __init__(
        self, opened: list[BinaryIO], parts: Iterator[bytes], headers: dict[str, str], status: int
    ) -> None:
        super().__init__(parts, status=status, headers=headers)
        self._give_back = weakref.finalize(self, _give_back, opened, _places)

    def close(self) -> None:
        super().close()
        self._give_back()


def _give_back(opened: list[BinaryIO], places: threading.BoundedSemaphore) -> None:
    _close(opened)
    places.release()


def _close(opened: list[BinaryIO]) -> None:
    for one in opened:
        one.close()


def _part(opened: BinaryIO, first: int, last: int) -> Iterator[bytes]:
    opened.seek(first)
    left = last - first + 1
    while left > 0:
        piece = opened.read(min(CHUNK_BYTES, left))
        if not piece:  # it has become shorter: better a broken answer than a wrong one
            raise OSError(f"{opened.name} has become shorter while it was sent")
        left -= len(piece)
        yield piece


def _tar(members: list[tuple[bytes, BinaryIO, int]]) -> Iterator[bytes]:
    for head, opened, size in members:
        yield head
        yield from _part(opened, 0, size - 1)
        yield bytes(_padded(size) - size)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _padded(size: int) -> int:
    return -(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
