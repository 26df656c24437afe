"""Folders that are there completely or not at all, whenever the process or the machine dies.

Standard library only.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from training.trainer.failures import FREE_THE_DISK, DiskFull, is_disk_full

_HALF = ".tmp"


@contextmanager
def whole_folder(final: Path, *, what: str, needs_bytes: int) -> Iterator[Path]:
    """Yields an empty folder to fill; on the way out it is on disk and named ``final``.

    A folder that was there under that name is replaced. Raises DiskFull before anything is
    written where ``needs_bytes`` are not free, and when the disk fills up meanwhile; what was
    written so far is removed then.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    half = half_of(final)
    shutil.rmtree(half, ignore_errors=True)
    free = shutil.disk_usage(final.parent).free
    if free < needs_bytes:
        raise _disk_full(what, final, needs_bytes, free)
    half.mkdir()
    try:
        yield half
        sync_tree(half)
    except BaseException as error:
        free = shutil.disk_usage(final.parent).free
        shutil.rmtree(half, ignore_errors=True)
        # torch's zip writer hides the reason of a failed write, so look at the disk as well.
        if is_disk_full(error) or (isinstance(error, RuntimeError) and free < 65536):
            raise _disk_full(what, final, needs_bytes, free) from error
        raise
    remove(final)
    os.rename(half, final)
    _sync(final.parent)


def half_of(final: Path) -> Path:
    """Where `whole_folder` fills what will be ``final``."""
    return final.with_name(final.name + _HALF)


def remove(folder: Path) -> None:
    """Remove a folder, if it is there, so that a kill in between does not leave a part of it."""
    if folder.exists():
        doomed = folder.with_name(folder.name + ".old" + _HALF)
        shutil.rmtree(doomed, ignore_errors=True)
        os.rename(folder, doomed)
        shutil.rmtree(doomed)


def remove_halves(parent: Path) -> None:
    """Remove what a killed process left half written or half removed."""
    for half in parent.glob(f"*{_HALF}"):
        shutil.rmtree(half, ignore_errors=True)


def size_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def sync_tree(folder: Path) -> None:
    """Force every file below ``folder``, and the folders themselves, to disk."""
    for path in folder.rglob("*"):
        _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _disk_full(what: str, final: Path, needs_bytes: int, free_bytes: int) -> DiskFull:
    return DiskFull(
        f"The disk is full: {what} needs {_megabytes(needs_bytes)}, and {final.parent} has "
        f"{_megabytes(free_bytes)} free.",
        advice=FREE_THE_DISK,
    )


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
