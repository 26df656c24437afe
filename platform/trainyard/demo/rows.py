"""Rows of a prompt and its completion, and the folder they are kept in."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypedDict

TRAIN = "train.jsonl"
VALIDATION = "validation.jsonl"


class Row(TypedDict):
    prompt: str
    completion: str


def write_splits(folder: Path, train: Iterable[Row], validation: Iterable[Row]) -> None:
    """Make ``folder`` with both files. A reader finds all of it or nothing."""

    def fill(half: Path) -> None:
        for name, rows in ((TRAIN, train), (VALIDATION, validation)):
            lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            (half / name).write_text("".join(lines), encoding="utf-8")

    make_whole(folder, fill)


def read(path: Path) -> list[Row]:
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def make_whole(folder: Path, fill: Callable[[Path], None]) -> None:
    """Replace ``folder`` by what ``fill`` puts into an empty one beside it.

    A run that is cut off leaves no half-made ``folder``, so one that exists is complete.
    """
    half = folder.with_name(f".{folder.name}.{os.getpid()}")
    half.mkdir(parents=True)
    try:
        fill(half)
        shutil.rmtree(folder, ignore_errors=True)
        half.rename(folder)
    except BaseException:
        shutil.rmtree(half, ignore_errors=True)
        raise
