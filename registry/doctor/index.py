"""What is kept of a dataset's rows beside their files, so that two versions can be compared without
reading either again: 24 bytes a row."""

from __future__ import annotations

import json
import os
import uuid
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from registry.files import relative_name

if TYPE_CHECKING:
    from registry.doctor.examine import Checked


@dataclass(frozen=True)
class Index:
    """Of each usable row: the ``keys`` of its content and of what is ``asked``, and its ``places``
    (file << 40 | line). ``files`` are relative names; ``rows`` is how many there were in all."""

    files: list[str]
    rows: int
    keys: npt.NDArray[np.uint64]
    asked: npt.NDArray[np.uint64]
    places: npt.NDArray[np.int64]


def write(path: Path, checked: Checked) -> None:
    """Atomically."""
    names = [relative_name(checked.root, file) for _, file in checked.files]
    half = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with open(half, "wb") as file:
            np.savez(
                file,
                files=np.array(json.dumps(names)),
                rows=np.array(checked.report.num_samples),
                keys=checked.keys,
                asked=checked.asked,
                places=checked.places,
            )
        os.replace(half, path)
    except BaseException:
        half.unlink(missing_ok=True)
        raise


def read(path: Path) -> Index | None:
    """None where there is none that can be read."""
    try:
        with np.load(path, allow_pickle=False) as found:
            return Index(
                files=json.loads(str(found["files"])),
                rows=int(found["rows"]),
                keys=found["keys"],
                asked=found["asked"],
                places=found["places"],
            )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
