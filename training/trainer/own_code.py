"""Code that a base model brings along: run only where the platform names its files and hashes."""

from __future__ import annotations

import hashlib
from pathlib import Path

from training.trainer.failures import BadModel
from training.trainer.settings import BaseModelSpec


def may_run(base_model: BaseModelSpec, folder: str) -> bool:
    """Whether the Python files in ``folder`` (the base model, or a checkpoint of it) are those that
    were approved; False where none were. Raises BadModel where any other one lies there."""
    if not base_model.code:
        return False
    place = Path(folder)
    for path in sorted(place.rglob("*.py")):
        name = path.relative_to(place).as_posix()
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if base_model.code.get(name) != found:
            raise BadModel(
                f"The code in {path} is not the code that was approved for this model.",
                advice="Put the approved file back, or have a member of staff approve this one.",
            )
    return True
