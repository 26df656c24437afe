"""Where files may be: below the storage roots, whatever links on the way say."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import uuid
from pathlib import Path

from django.conf import settings

from registry import files
from registry.files import BadPath, Hashed, Manifest, Meanwhile, Seen, checksum, total_size

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
    """Is this inside a folder that an upload or a transfer has made?"""
    homes = (settings.TRAINYARD_DATASETS, settings.TRAINYARD_MODELS)
    return any(_uuid_below(place, Path(home).resolve()) for home in homes)


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


def manifest(path: Path, meanwhile: Meanwhile = None) -> Manifest:
    """``{relative path: {"sha256", "size"}}`` of every file. Raises BadPath."""
    return {name: hashed.facts for name, hashed in hash_folder(path, meanwhile).items()}


def hash_folder(path: Path, meanwhile: Meanwhile = None) -> dict[str, Hashed]:
    """The same, with how each file looked meanwhile (`write_seen`). Raises BadPath."""
    check_links(path)
    return files.hash_folder(path, meanwhile)


# --- The manifests we keep -----------------------------------------------------------------------


def manifest_path(entry_id: uuid.UUID, *, kind: str) -> Path:
    """``kind`` is "models" or "datasets". Beside the entry's files, never among them."""
    home = settings.TRAINYARD_MODELS if kind == "models" else settings.TRAINYARD_DATASETS
    return Path(home) / f"{entry_id}.manifest.jsonl"


def write_manifest(path: Path, entries: Manifest) -> None:
    """Atomically: a reader sees all of it or what was there before."""
    _write(path, files.manifest_lines(entries))


def _write(path: Path, text: str) -> None:
    half = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with open(half, "w", encoding="utf-8") as file:
            file.write(text)
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


def seen_path(manifest: Path) -> Path:
    """Beside the manifest: how the files looked when they were last found to be right."""
    return manifest.with_name(manifest.name.replace(".manifest.jsonl", ".seen.json"))


def write_seen(path: Path, looks: dict[str, Seen]) -> None:
    _write(path, json.dumps(looks))


def read_seen(path: Path) -> dict[str, Seen]:
    """Empty where nothing is remembered, or nothing that can be understood."""
    try:
        return {name: Seen(*look) for name, look in json.loads(path.read_bytes()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


# --- Uploads -------------------------------------------------------------------------------------


def upload_folder(dataset_id: uuid.UUID) -> Path:
    return Path(settings.TRAINYARD_DATASETS).resolve() / str(dataset_id)


def model_folder(model_id: uuid.UUID) -> Path:
    """Of a model that a transfer has brought."""
    return Path(settings.TRAINYARD_MODELS).resolve() / str(model_id)


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
