"""Where files may be: below the storage roots, whatever links on the way say."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from pathlib import Path

from django.conf import settings

from registry import files
from registry.files import BadPath, Manifest, checksum, total_size

__all__ = ["BadPath", "Manifest", "checksum", "total_size"]


def roots() -> list[Path]:
    """The folders that a storage_path may lie in."""
    return [Path(root).resolve() for root in settings.TRAINYARD_STORAGE_ROOTS]


def resolve(path: str) -> Path:
    """The real place of a ``storage_path``. Raises BadPath with a sentence.

    A relative path is looked up in models/, datasets/ and TRAINYARD_HOME itself. What lies outside
    the roots is refused before anything is said about whether it exists.
    """
    if not path or "\x00" in path:
        raise BadPath("A path is needed." if not path else "A path has no NUL in it.")
    places = [_real(place) for place in _places(path)]
    below = [place for place in places if _is_below_roots(place)]
    if not below:
        allowed = ", ".join(str(root) for root in roots())
        raise BadPath(f"'{path}' is not below one of the storage roots: {allowed}.")
    for place in below:
        if _exists(place):
            return place
    raise BadPath(f"'{path}' does not exist.")


def _places(path: str) -> list[Path]:
    if os.path.isabs(path):
        return [Path(path)]
    homes = (settings.TRAINYARD_MODELS, settings.TRAINYARD_DATASETS, settings.TRAINYARD_HOME)
    return [Path(home) / path for home in homes]


def _real(place: Path) -> Path:
    try:
        return place.resolve()
    except (OSError, RuntimeError, ValueError) as error:  # too long, a circle of links
        raise BadPath(f"'{place}' is not a usable path.") from error


def _exists(place: Path) -> bool:
    try:
        return place.exists()
    except (OSError, ValueError):
        return False


def _is_below_roots(place: Path) -> bool:
    """A folder that holds a root is not below it, even where another root holds them both."""
    everything = roots()
    return any(root in place.parents for root in everything) and not any(
        place in (root, *root.parents) for root in everything
    )


def is_upload(place: Path) -> bool:
    """Is this inside a folder that an upload has made?"""
    return _uuid_below(place, Path(settings.TRAINYARD_DATASETS).resolve())


def is_export(place: Path) -> bool:
    """Is this inside what a job has exported?"""
    return Path(settings.TRAINYARD_EXPORTS).resolve() in place.parents


def _uuid_below(place: Path, folder: Path) -> bool:
    if folder not in place.parents:
        return False
    try:
        uuid.UUID(place.relative_to(folder).parts[0].partition(".")[0])  # or its manifest
    except ValueError:
        return False
    return True


def check_links(path: Path) -> None:
    """Raises BadPath where a file in ``path`` leads out of the roots, or is not a file at all."""
    for file in files.regular_files(path):
        if file.is_symlink() and not _is_below_roots(file.resolve()):
            raise BadPath(
                f"'{files.relative_name(path, file)}' is a link to a place outside the storage "
                "roots. Copy the file itself."
            )


def manifest(path: Path) -> Manifest:
    """``{relative path: {"sha256", "size"}}`` of every file. Raises BadPath."""
    check_links(path)
    return files.manifest(path)


# --- The manifests we keep -----------------------------------------------------------------------


def manifest_path(entry_id: uuid.UUID, *, kind: str) -> Path:
    """``kind`` is "models" or "datasets". Beside the entry's files, never among them."""
    home = settings.TRAINYARD_MODELS if kind == "models" else settings.TRAINYARD_DATASETS
    return Path(home) / f"{entry_id}.manifest.jsonl"


def write_manifest(path: Path, entries: Manifest) -> None:
    """Atomically: a reader sees all of it or what was there before."""
    half = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with open(half, "w", encoding="utf-8") as file:
            file.write(files.manifest_lines(entries))
            file.flush()
            os.fsync(file.fileno())
        os.replace(half, path)
    except BaseException:
        half.unlink(missing_ok=True)
        raise


def read_manifest(path: Path) -> Manifest | None:
    """None where there is none, or where it is not what we wrote."""
    try:
        return files.parse_manifest(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def changes(path: Path, before: Manifest, *, also_new: bool = False) -> list[str]:
    """What is no longer as the manifest says, one sentence each. Hashes every file it names.

    ``also_new`` counts a file that has come since: one more file of rows makes another dataset.
    """
    folder = path if path.is_dir() else path.parent
    found = []
    for name, facts in sorted(before.items()):
        file = folder / name
        if not file.is_file():
            found.append(f"{name} is missing.")
            continue
        try:
            now = files.facts_of(file)
        except BadPath as error:
            found.append(str(error))
            continue
        if now != facts:
            found.append(f"{name} has changed ({facts['size']:,} bytes then, {now['size']:,} now).")
    if also_new and path.is_dir():
        names = {files.relative_name(path, file) for file in files.regular_files(path)}
        found += [f"{name} is new." for name in sorted(names - before.keys())]
    return found


# --- Uploads -------------------------------------------------------------------------------------


def upload_folder(dataset_id: uuid.UUID) -> Path:
    return Path(settings.TRAINYARD_DATASETS).resolve() / str(dataset_id)


def take_in(temporary: Path, target: Path) -> None:
    """Move an upload to its place, by a rename: there is never half a file under its name."""
    target.parent.mkdir(parents=True)
    os.replace(temporary, target)
    with open(target, "rb") as file:
        os.fsync(file.fileno())


def remove(*paths: Path) -> None:
    """Delete our own files and folders, as far as they are there."""
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
