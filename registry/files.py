"""Files below a folder, and the manifest that says what they were: name, SHA-256 and size of each.

No Django: the roots that limit where a path may lead are `registry.storage`'s matter.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import NamedTuple, TypedDict

BLOCK_BYTES = 1 << 20
# Below this, starting threads costs more than they bring.
WORTH_THREADS_BYTES = 8 << 20
MOST_THREADS = 8
# How often somebody who waits for hashes is asked whether to go on.
MEANWHILE_SECONDS = 1.0
# A file that was written less long ago than this may change again without a new time.
SETTLED_SECONDS = 0.1

# A folder with more files than this is not a model or a dataset but a disk.
MOST_FILES = 100_000


class BadPath(ValueError):
    """The path cannot be used. The message says why, in a sentence for people."""


class FileFacts(TypedDict):
    sha256: str
    size: int


Manifest = dict[str, FileFacts]
# Called about once a second while files are being hashed; what it raises ends the work.
Meanwhile = Callable[[], object] | None


class Seen(NamedTuple):
    """How a file looked when its hash was worked out: as long as that is so, it has not changed."""

    size: int
    mtime_ns: int
    inode: int


class Hashed(NamedTuple):
    """``seen`` is None where the file was being written, so that nothing can be said for later."""

    facts: FileFacts
    seen: Seen | None


def regular_files(path: Path) -> list[Path]:
    """The files of a folder and its folders, sorted; of a file, itself. Hidden ones are left out.

    A link to a file counts as the file. Raises BadPath for a link to a folder, for what is neither
    file nor folder (a pipe would block its reader for ever), and for a folder without end.
    """
    try:
        files = sorted(_walk(path)) if path.is_dir() else [_regular(path, path)]
    except OSError as error:
        raise BadPath(f"'{path}' cannot be read: {error.strerror}.") from error
    return files


def _walk(folder: Path) -> Iterator[Path]:
    count = 0
    for here, folders, names in os.walk(folder, onerror=_fail):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in folders:
            if Path(here, name).is_symlink():
                raise BadPath(f"'{_shown(folder, Path(here, name))}' is a link to a folder.")
        for name in names:
            if name.startswith("."):
                continue
            count += 1
            if count > MOST_FILES:
                raise BadPath(f"'{folder}' has more than {MOST_FILES:,} files.")
            yield _regular(Path(here, name), folder)


def _fail(error: OSError) -> None:
    raise error


def _regular(path: Path, folder: Path) -> Path:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise BadPath(f"'{_shown(folder, path)}' has a name that is not UTF-8.") from None
    if not stat.S_ISREG(path.stat().st_mode):
        raise BadPath(f"'{_shown(folder, path)}' is not an ordinary file.")
    return path


def _shown(folder: Path, path: Path) -> str:
    shown = path.name if path == folder else path.relative_to(folder).as_posix()
    return shown.encode("utf-8", "replace").decode()


def relative_name(path: Path, file: Path) -> str:
    """How a manifest of ``path`` (a folder, or the file itself) calls ``file``."""
    return file.name if file == path else file.relative_to(path).as_posix()


def manifest(path: Path, meanwhile: Meanwhile = None) -> Manifest:
    """Hash every file, a block at a time, on all cores. Raises BadPath."""
    return {name: hashed.facts for name, hashed in hash_folder(path, meanwhile).items()}


def hash_folder(path: Path, meanwhile: Meanwhile = None) -> dict[str, Hashed]:
    """The same, with how each file looked. Raises BadPath, and what ``meanwhile`` raises."""
    found = regular_files(path)
    hashed = hash_files(found, meanwhile)
    return {relative_name(path, file): hashed[file] for file in found}


def hash_files(paths: Iterable[Path], meanwhile: Meanwhile = None) -> dict[Path, Hashed]:
    """Hash these files, the largest first. Raises BadPath, and what ``meanwhile`` raises."""
    try:
        sizes = {path: path.stat().st_size for path in paths}
    except OSError as error:
        raise BadPath(f"'{error.filename}' cannot be read: {error.strerror}.") from error
    ordered = sorted(sizes, key=lambda path: -sizes[path])
    stop = threading.Event()
    if sum(sizes.values()) < WORTH_THREADS_BYTES:
        return {path: _hash(path, stop) for path in ordered}
    threads = min(len(ordered), len(os.sched_getaffinity(0)), MOST_THREADS)
    with ThreadPoolExecutor(threads, thread_name_prefix="hash") as pool:
        futures = {path: pool.submit(_hash, path, stop) for path in ordered}
        try:
            _wait(set(futures.values()), meanwhile)
            return {path: future.result() for path, future in futures.items()}
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)


def _wait(open_: set[Future[Hashed]], meanwhile: Meanwhile) -> None:
    """Until all are done or one has failed."""
    while open_:
        done, open_ = wait(open_, timeout=MEANWHILE_SECONDS, return_when="FIRST_EXCEPTION")
        if any(future.exception() for future in done):
            return
        if meanwhile is not None:
            meanwhile()


class _Stopped(Exception):
    """Nobody waits for this hash any more."""


def _hash(path: Path, stop: threading.Event) -> Hashed:
    """SHA-256 and size of what was read: both belong to the same bytes. Raises BadPath."""
    digest = hashlib.sha256()
    block = memoryview(bytearray(BLOCK_BYTES))
    size = 0
    try:
        with open(path, "rb", buffering=0) as file:
            before = seen(os.fstat(file.fileno()))
            while count := file.readinto(block):
                if stop.is_set():
                    raise _Stopped
                digest.update(block[:count])
                size += count
            after = seen(os.fstat(file.fileno()))
    except OSError as error:
        raise BadPath(f"'{path.name}' cannot be read: {error.strerror}.") from error
    settled = after.mtime_ns < time.time_ns() - SETTLED_SECONDS * 1e9
    facts: FileFacts = {"sha256": digest.hexdigest(), "size": size}
    return Hashed(facts, after if before == after and after.size == size and settled else None)


def seen(status: os.stat_result) -> Seen:
    return Seen(status.st_size, status.st_mtime_ns, status.st_ino)


def facts_of(path: Path) -> FileFacts:
    """SHA-256 and size of one file. Raises BadPath."""
    return _hash(path, threading.Event()).facts


def manifest_lines(files: Manifest) -> str:
    """The manifest as it is written: one JSON object a line, sorted by file."""
    return "".join(
        json.dumps({"file": name, **facts}, ensure_ascii=False) + "\n"
        for name, facts in sorted(files.items())
    )


def parse_manifest(text: str) -> Manifest:
    """Raises ValueError or KeyError where somebody has changed it."""
    rows = [json.loads(line) for line in text.splitlines()]
    return {row["file"]: {"sha256": row["sha256"], "size": row["size"]} for row in rows}


def checksum(files: Manifest) -> str:
    """One SHA-256 for all files: that of the written manifest."""
    return hashlib.sha256(manifest_lines(files).encode()).hexdigest()


def total_size(files: Manifest) -> int:
    return sum(facts["size"] for facts in files.values())
