"""Small JSON files of a model folder, read with care."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from api.plain import plain_json
from registry.inspect.facts import BadModel

# A configuration has some kilobytes, one with thousands of added tokens a megabyte or two. Python
# takes about ten times as much while it reads.
LARGEST_BYTES = 8_000_000


def read_object(path: Path, largest_bytes: int = LARGEST_BYTES) -> dict[str, Any]:
    """The JSON object in the file, fit for a database. Raises BadModel naming the file."""
    try:
        with open(path, "rb") as file:
            raw = file.read(largest_bytes + 1)
    except OSError as error:
        raise BadModel(f"{path.name} cannot be read: {error.strerror}.") from error
    if len(raw) > largest_bytes:
        raise BadModel(f"{path.name} is larger than {largest_bytes // 1_000_000} MB.")
    try:
        value = plain_json(json.loads(raw.decode("utf-8-sig")))
    except (ValueError, RecursionError):
        raise BadModel(f"{path.name} is not JSON.") from None
    if not isinstance(value, dict):
        raise BadModel(f"{path.name} must hold a JSON object.")
    return value
