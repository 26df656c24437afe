"""Which file of a dataset belongs to which split: its name says it, or that of its folder."""

from __future__ import annotations

import re
from pathlib import Path

from registry.doctor.formats import format_of, holds_rows
from registry.files import regular_files

SPLITS = ("train", "validation", "test")
# "train.jsonl", and "train-00000-of-00002.jsonl" as exports of large datasets are named.
_NAMED = re.compile(r"(train|validation|valid|val|dev|test)([-_.].*)?", re.IGNORECASE | re.DOTALL)
_ALIASES = {"valid": "validation", "val": "validation", "dev": "validation"}


def split_of(file_name: str) -> str | None:
    """The split that a file's name says, None where it says none."""
    named = _NAMED.fullmatch(Path(file_name).stem)
    if named is None:
        return None
    word = named[1].lower()
    return _ALIASES.get(word, word)


def split_files(path: Path) -> dict[str, list[Path]]:
    """The files of each split, sorted: of a folder and its folders, or of one file.

    One single file whose name says nothing is the train split. Raises BadPath.
    """
    return sort_files(path)[0]


def sort_files(path: Path) -> tuple[dict[str, list[Path]], list[Path]]:
    """The files of each split, and the row files whose split nobody can tell. Raises BadPath."""
    found: dict[str, list[Path]] = {}
    others: list[Path] = []
    for file in row_files(path):
        split = split_of(file.name) or _split_of_folders(path, file)
        if split:
            found.setdefault(split, []).append(file)
        else:
            others.append(file)
    if "train" not in found and len(others) == 1:
        found["train"], others = others, []
    return {split: found[split] for split in SPLITS if split in found}, others


def _split_of_folders(path: Path, file: Path) -> str | None:
    """As "train/0000.parquet" and "train/data-00000-of-00001.arrow" are written."""
    if file == path:
        return None
    folders = reversed(file.relative_to(path).parts[:-1])
    return next((split for name in folders if (split := split_of(name))), None)


def row_files(path: Path) -> list[Path]:
    """The files with rows in them; plain text only where there is nothing else. Raises BadPath."""
    files = [file for file in regular_files(path) if holds_rows(file.name)]
    others = [file for file in files if format_of(file.name) != "text"]
    return others or files
