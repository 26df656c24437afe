"""Images that rows name by a path. It begins where the file of rows is, as for the trainer
(`training.trainer.data.labelled`), and whatever leads out of that folder is not looked at."""

from __future__ import annotations

import os
import stat
from functools import lru_cache

from api.plain import plain_text
from registry.doctor.findings import Finding

_LONGEST_NAME = 200


def problem_with(named: str, folder: str) -> Finding | None:
    """What keeps the image of a row from being opened. Bounded: one look at the file's entry."""
    path = os.path.normpath(os.path.join(folder, named))
    shown = plain_text(named[:_LONGEST_NAME])
    if "\x00" in named or not _is_in(path, os.path.normpath(folder)) or not _stays_in(path, folder):
        return Finding(
            code="image_outside",
            field="image",
            message=f"The image {shown} lies outside of the folder that the file of rows is in.",
            fix="Put the images beside the rows or below, and name them by paths from there.",
        )
    if not _is_file(path):
        return Finding(
            code="missing_image",
            field="image",
            message=f"There is no image {shown}.",
            fix="Add the file, correct its path (it begins where the file of rows is), or remove "
            "the row.",
        )
    return None


def _is_in(path: str, folder: str) -> bool:
    return path.startswith(folder.rstrip(os.sep) + os.sep)


def _stays_in(path: str, folder: str) -> bool:
    """Also where links lead."""
    if os.path.islink(path):
        return _is_in(os.path.realpath(path), _real(folder))
    return _is_in(os.path.join(_real(os.path.dirname(path)), "file"), _real(folder))


@lru_cache(maxsize=10_000)
def _real(folder: str) -> str:
    return os.path.realpath(folder)


def _is_file(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False
