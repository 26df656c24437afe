"""What comes out of strangers' files, made fit for a database and a page."""

from __future__ import annotations

import math
from typing import Any

# Deeper JSON than this is no config and no row.
_DEEPEST = 100


def plain_text(text: str) -> str:
    """Without NUL and lone surrogates, which PostgreSQL refuses to store."""
    if text.isascii() and "\x00" not in text:
        return text
    whole = text.encode("utf-8", "replace").decode("utf-8")
    return whole.replace("\x00", "\N{REPLACEMENT CHARACTER}")


def plain_json(value: Any, depth: int = 0) -> Any:
    """The same for all strings of a JSON value; NaN and infinities become null.

    Raises ValueError where it is nested too deep.
    """
    if depth > _DEEPEST:
        raise ValueError(f"nested deeper than {_DEEPEST} levels")
    if isinstance(value, str):
        return plain_text(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [plain_json(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {plain_text(key): plain_json(item, depth + 1) for key, item in value.items()}
    return value


def is_plain(value: Any) -> bool:
    """Can every database store this JSON value as it stands?"""
    try:
        return bool(plain_json(value) == value)
    except (ValueError, RecursionError):
        return False
