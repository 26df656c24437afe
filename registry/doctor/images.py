"""Image folders: a folder for each class, with its images in it; around them a folder for each
split, or none."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from registry.doctor.splits import SPLITS, split_of
from registry.files import regular_files

IMAGES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})


class Labelled(NamedTuple):
    """``name`` is the path of the image below the folder of its class."""

    split: str
    path: Path
    label: str
    name: str


def image_folders(path: Path) -> dict[str, list[Path]]:
    """The folder of each split, with the folders of its classes in it; nothing where ``path`` is no
    image folder. Without folders for splits all of it is the train split. Raises BadPath."""
    images = [file for file in regular_files(path) if _is_image(file)] if path.is_dir() else []
    folders = {file.relative_to(path).parts[:-1] for file in images}
    named = {parts[0]: split_of(parts[0]) for parts in folders if len(parts) > 1}
    found: dict[str, list[Path]] = {}
    for name, split in sorted(named.items()):
        if split:
            found.setdefault(split, []).append(path / name)
    if not found and any(folders):
        found = {"train": [path]}
    return {split: found[split] for split in SPLITS if split in found}


def labelled_images(split: str, folders: list[Path]) -> list[Labelled]:
    """Those of one split, sorted. Raises BadPath."""
    return [
        Labelled(split, file, parts[0], "/".join(parts[1:]))
        for folder in folders
        for file in regular_files(folder)
        if _is_image(file) and len(parts := file.relative_to(folder).parts) > 1
    ]


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in IMAGES
