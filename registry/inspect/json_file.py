"""Small JSON files of a model folder, read with care."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from api.plain import plain_json
from registry.inspect.facts import BadModel

# A weight index of a very large model has some ten megabytes; a tokenizer is never read.
LARGEST_BYTES = 64_000_000


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in the file, fit for a database. Raises BadModel naming the file."""
    try:
        with open(path, "rb") as file:
            raw = file.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise BadModel(f"{path.name} cannot be read: {error.strerror}.") from error
    if len(raw) > LARGEST_BYTES:
        raise BadModel(f"{path.name} is larger than {LARGEST_BYTES // 1_000_000} MB.")
    try:
        value = plain_json(json.loads(raw.decode("utf-8-sig")))
    except (ValueError, RecursionError):
        raise BadModel(f"{path.name} is not JSON.") from None
    if not isinstance(value, dict):
        raise BadModel(f"{path.name} must hold a JSON object.")
    return value
