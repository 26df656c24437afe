"""Files below a folder, and the manifest that says what they were: name, SHA-256 and size of each.

No Django: the roots that limit where a path may lead are `registry.storage`'s matter.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict

# A folder with more files than this is not a model or a dataset but a disk.
MOST_FILES = 100_000


class BadPath(ValueError):
    """The path cannot be used. The message says why, in a sentence for people."""


class FileFacts(TypedDict):
    sha256: str
    size: int


Manifest = dict[str, FileFacts]


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


def manifest(path: Path) -> Manifest:
    """Hash every file, a block at a time. Raises BadPath."""
    return {relative_name(path, file): facts_of(file) for file in regular_files(path)}


def facts_of(path: Path) -> FileFacts:
    """SHA-256 and size of what was read: both belong to the same bytes. Raises BadPath."""
    try:
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return {"sha256": digest, "size": file.tell()}
    except OSError as error:
        raise BadPath(f"'{path.name}' cannot be read: {error.strerror}.") from error


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
