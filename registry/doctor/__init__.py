"""The dataset doctor: reads every row of a dataset's files and says what is wrong with them.

No Django, bounded memory. `check` examines rows and `check_images` folders of images; `split_files`
and `image_folders` only say which is which split. `orders` does it in a process of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from registry.doctor.findings import Finding, Level
from registry.doctor.formats import PACKINGS, ROW_FILES, packing_of, suffix_of
from registry.doctor.images import image_folders
from registry.doctor.layouts import FIELDS, NEED_COPY
from registry.doctor.report import MOST_COLUMNS, Report
from registry.doctor.splits import SPLITS, split_files, split_of

__all__ = [
    "FIELDS",
    "MOST_COLUMNS",
    "NEED_COPY",
    "PACKINGS",
    "ROW_FILES",
    "SPLITS",
    "Finding",
    "Level",
    "Report",
    "check",
    "check_images",
    "image_folders",
    "packing_of",
    "split_files",
    "split_of",
    "suffix_of",
]


def check(path: Path, *, columns: Mapping[str, str] | None = None, **how: Any) -> Report:
    """`examine.check`, whose libraries are read when it is first called."""
    from registry.doctor import examine

    return examine.check(path, columns=columns, **how)


def check_images(path: Path, **how: Any) -> Report:
    """The report of `image_check.check_images`, in the same way."""
    from registry.doctor import image_check

    return image_check.check_images(path, **how).report
