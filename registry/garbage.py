"""What lies in TRAINYARD_HOME and belongs to nobody any more.

A folder (or file) named by a UUID in one of our own folders belongs to the row of that id; settings
say of which tables. Without such a row, and without any entry whose path leads into it, it is left
over: from an upload that was killed, or from something that has been deleted. Nothing is touched
that has changed within the grace time, so whoever is just writing is safe.
"""

from __future__ import annotations

import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings

from registry import store
from registry.models import Adapter, BaseModel, Dataset

# Written by `storage._write` and by Django's upload handler, and never renamed: their writer died.
_HALF_WRITTEN = re.compile(r"\.[0-9a-f-]{36}\.(manifest\.jsonl|seen\.json|rows\.npz)\.[0-9a-f]{32}")
_HALF_UPLOADED = re.compile(r"tmp\w+\.upload.*")
_TRASH = ".trash-"


@dataclass(frozen=True)
class Leftover:
    path: Path
    what: str
    size_bytes: int


@dataclass
class Collection:
    """What a collection has removed, or would remove."""

    leftovers: list[Leftover] = field(default_factory=list)
    copies: int = 0
    copies_bytes: int = 0

    @property
    def size_bytes(self) -> int:
        """Freed. A file that others share frees its bytes only when the store lets go of it."""
        return sum(leftover.size_bytes for leftover in self.leftovers) + self.copies_bytes


def collect(older_than: float, *, dry_run: bool = False) -> Collection:
    """Remove what has been nobody's since before ``older_than`` (seconds since 1970).

    May be killed anywhere: what it has begun to remove has lost its name before.
    """
    done = Collection()
    if not dry_run:
        _empty_trash()
    for leftover in leftovers(older_than):
        if dry_run or _remove(leftover.path):
            done.leftovers.append(leftover)
    for copy in store.unused(older_than):
        if dry_run or store.discard(copy, older_than):
            done.copies += 1
            done.copies_bytes += copy.size_bytes
    return done


def leftovers(older_than: float) -> list[Leftover]:
    """First what lies there, then what the database says of it: in between things only appear in
    the database, and nothing there is new to us."""
    found = [*_without_a_row(), *_half_done()]
    old = [leftover for leftover in found if _last_change(leftover.path) < older_than]
    if not old:
        return []
    used = set(_used_paths())
    return [leftover for leftover in old if not _is_used(leftover.path, used)]


def _without_a_row() -> Iterator[Leftover]:
    for folder, labels in settings.TRAINYARD_FOLDERS_OF.items():
        named = dict(_named_by_uuid(folder))
        ids = set(named.values())
        known: set[Any] = set()
        for label in labels:
            rows = apps.get_model(label)._default_manager.filter(pk__in=ids)
            known |= set(rows.values_list("pk", flat=True))
        what = " or ".join(label.rpartition(".")[2].lower() for label in labels)
        for path, pk in named.items():
            if pk not in known:
                yield Leftover(path, f"of no {what}", _size(path))


def _named_by_uuid(folder: Path) -> Iterator[tuple[Path, uuid.UUID]]:
    """``<uuid>`` itself, and ``<uuid>.manifest.jsonl`` beside it."""
    for path in _listed(folder):
        with suppress(ValueError):
            name, _, _ = path.name.partition(".")
            if str(uuid.UUID(name)) == name:
                yield path, uuid.UUID(name)


def _half_done() -> Iterator[Leftover]:
    for folder in (settings.TRAINYARD_MODELS, settings.TRAINYARD_DATASETS):
        for path in _listed(folder):
            if _HALF_WRITTEN.fullmatch(path.name):
                yield Leftover(path, "half written", _size(path))
    for path in _listed(settings.TRAINYARD_UPLOADS):
        if _HALF_UPLOADED.fullmatch(path.name):
            yield Leftover(path, "half uploaded", _size(path))


def _listed(folder: Path) -> list[Path]:
    """With links resolved, as paths in the database are."""
    try:
        return sorted(Path(folder).resolve().iterdir())
    except FileNotFoundError:
        return []


def _used_paths() -> Iterator[str]:
    for kind in (BaseModel, Dataset, Adapter):
        yield from kind._default_manager.values_list("storage_path", flat=True).iterator()
    yield from BaseModel.objects.values_list("tokenizer_path", flat=True).iterator()


def _is_used(path: Path, used: set[str]) -> bool:
    """Does a row's path lead to it, into it, or to a folder that holds it?"""
    inside = f"{path}/"
    return any(str(place) in used for place in (path, *path.parents)) or any(
        place.startswith(inside) for place in used
    )


def _last_change(path: Path) -> float:
    """Of it and of all that is in it."""
    newest = 0.0
    for place in _everything(path):
        with suppress(FileNotFoundError):
            status = place.lstat()
            newest = max(newest, status.st_mtime, status.st_ctime)
    return newest


def _size(path: Path) -> int:
    """Of the files that nobody else shares."""
    total = 0
    for place in _everything(path):
        with suppress(FileNotFoundError):
            status = place.lstat()
            if status.st_nlink == 1:
                total += status.st_size
    return total


def _everything(path: Path) -> Iterator[Path]:
    yield path
    if path.is_dir() and not path.is_symlink():
        for here, folders, names in os.walk(path):
            yield from (Path(here, name) for name in (*folders, *names))


def _remove(path: Path) -> bool:
    """It loses its name at once, and then its files."""
    trash = path.with_name(f"{_TRASH}{uuid.uuid4().hex}")
    try:
        os.replace(path, trash)
    except FileNotFoundError:
        return False
    _delete(trash)
    return True


def _empty_trash() -> None:
    for folder in (*settings.TRAINYARD_FOLDERS_OF, settings.TRAINYARD_UPLOADS):
        for path in _listed(folder):
            if path.name.startswith(_TRASH):
                _delete(path)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
