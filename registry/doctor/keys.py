"""A number for the content of a row: the same for the same, in whatever process."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import orjson


def key_of(content: Any) -> int:
    if isinstance(content, str):
        data = content.encode("utf-8", "surrogatepass")
    else:
        data = _canonical(content)
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def _canonical(content: Any) -> bytes:
    try:
        return orjson.dumps(content, option=orjson.OPT_SORT_KEYS, default=str)
    except TypeError:  # what only Python's own JSON writes: huge numbers, lone surrogates
        text = json.dumps(content, sort_keys=True, default=str)
        return text.encode("utf-8", "surrogatepass")
