"""One copy of each content, in TRAINYARD_HOME/store; files of the same bytes are hard links to it.

Only what Trainyard itself has written is taken in (uploads, imports, results); files that were
registered where they lie stay as they are. The file system counts who uses a copy: the links that
it has beside the store's own name. docs/decisions/storage.md says why it is built like this.

Each step is one link or one rename, so a process may be killed anywhere: a file is always whole.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from registry import files
from registry.files import BadPath, FileFacts, Manifest, Seen

# Where a file cannot be a link to the store's copy, it stays a copy of its own.
NO_LINK = frozenset(
    {errno.EXDEV, errno.EMLINK, errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EACCES}
)
# Nobody changes a file through one of its names, and with it all the others.
READ_ONLY = 0o444


def folder() -> Path:
    return Path(settings.TRAINYARD_HOME).resolve() / "store"


def place_of(sha256: str) -> Path:
    return folder() / "sha256" / sha256[:2] / sha256


def adopt(place: Path, manifest: Manifest) -> dict[str, Seen]:
    """Make the files of ``place`` (a folder, or one file) share their content with all others.

    ``manifest`` is what they hold. Returns how each file looks now. A file that is missing or has
    another size is left alone, and so is a link.
    """
    looks = {}
    for name, facts in manifest.items():
        file = _file(place, name)
        with contextlib.suppress(FileNotFoundError):
            if _is_ours_to_share(file, facts):
                _share(file, facts, place)
                looks[name] = files.seen(file.stat())
    return looks


def _file(place: Path, name: str) -> Path:
    return place / name if place.is_dir() else place


def _is_ours_to_share(file: Path, facts: FileFacts) -> bool:
    status = file.lstat()
    return stat.S_ISREG(status.st_mode) and status.st_size == facts["size"] > 0


def under_way(place: Path) -> list[Path]:
    """What somebody who was killed while `adopt` was at ``place`` has left in the store."""
    return list((folder() / "incoming").glob(f"{place.name}-*"))


def _share(file: Path, facts: FileFacts, place: Path) -> None:
    copy = place_of(facts["sha256"])
    copy.parent.mkdir(parents=True, exist_ok=True)
    while True:
        try:
            os.link(file, copy)
            copy.chmod(READ_ONLY)
            return
        except FileExistsError:
            pass
        except OSError as error:
            if error.errno in NO_LINK:
                return
            raise
        try:
            if copy.samefile(file):
                return
            if _is_right(copy, facts):
                _replace_by_link(copy, file, place)
                return
        except FileNotFoundError:  # collected in this very moment: ours is the first again
            continue
        except BadPath:  # the disk does not give it back
            return
        except OSError as error:
            if error.errno in NO_LINK:
                return
            raise


def _is_right(copy: Path, facts: FileFacts) -> bool:
    """Does the store's copy still hold what its name says? A wrong one is taken out of the store;
    those who have it as a file are told by their own checks. Raises BadPath, FileNotFoundError."""
    copy.stat()
    if files.facts_of(copy) == facts:
        return True
    copy.unlink(missing_ok=True)
    return False


def _replace_by_link(copy: Path, file: Path, place: Path) -> None:
    """By way of a second name in the store, so that ``file`` is there and whole at any moment."""
    second = _incoming() / f"{place.name}-{uuid.uuid4().hex}"
    os.link(copy, second)
    try:
        os.replace(second, file)
    finally:
        # rename does nothing where both are links to the same file
        second.unlink(missing_ok=True)


def _incoming() -> Path:
    place = folder() / "incoming"
    place.mkdir(parents=True, exist_ok=True)
    return place


# --- What nobody uses any more -------------------------------------------------------------------


@dataclass(frozen=True)
class Copy:
    """A file of the store, and how many files outside of it are links to it."""

    path: Path
    size_bytes: int
    users: int


def copies() -> Iterator[Copy]:
    for path, status in _entries(folder() / "sha256", deep=True):
        yield Copy(path, status.st_size, status.st_nlink - 1)


def unused(older_than: float) -> Iterator[Copy]:
    """Copies that no file is a link to, and links that somebody who was killed has left behind,
    since before ``older_than`` (seconds since 1970)."""
    for path, status in _entries(folder() / "sha256", deep=True):
        if status.st_nlink == 1 and status.st_ctime < older_than:
            yield Copy(path, status.st_size, 0)
    for path, status in _entries(folder() / "incoming"):
        if status.st_ctime < older_than:
            yield Copy(path, 0, 0)


def discard(copy: Copy, older_than: float) -> bool:
    """Take an unused copy out of the store; whoever makes a link to it in this moment keeps it."""
    try:
        status = copy.path.stat()
        if status.st_ctime >= older_than or (copy.size_bytes and status.st_nlink > 1):
            return False
        copy.path.unlink()
    except FileNotFoundError:
        return False
    return True


def _entries(place: Path, *, deep: bool = False) -> Iterator[tuple[Path, os.stat_result]]:
    try:
        entries = list(os.scandir(place))
    except FileNotFoundError:
        return
    for entry in entries:
        if deep and entry.is_dir(follow_symlinks=False):
            yield from _entries(Path(entry.path))
        elif entry.is_file(follow_symlinks=False):
            with contextlib.suppress(FileNotFoundError):
                yield Path(entry.path), os.stat(entry.path, follow_symlinks=False)
