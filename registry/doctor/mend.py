"""What can be put right in a row without knowing what it means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import ftfy
from ftfy import badness

from registry.doctor.layouts import SPEAKERS
from registry.doctor.rows import judge
from registry.doctor.texts import redacted


class Mended(NamedTuple):
    """A row as it is after mending. ``is_changed``: one of its texts was."""

    row: dict[str, Any]
    was_usable: bool
    is_usable: bool
    is_changed: bool


@dataclass(frozen=True)
class Mending:
    """What is done to every row before anybody compares it: two that were different may be the
    same then. ``mends`` texts that are damaged, ``redacts`` personal data."""

    mends: bool
    redacts: bool

    def of(self, found: dict[str, Any], kind: str) -> Mended:
        """``kind`` is that of the dataset."""
        was_usable = _is_usable(found, kind)
        if not was_usable:
            found = structure(found)
            if not _is_usable(found, kind):
                return Mended(found, was_usable=False, is_usable=False, is_changed=False)
        found, is_changed = row(found, mends=self.mends, redacts=self.redacts)
        is_usable = not is_changed or _is_usable(found, kind)
        return Mended(found, was_usable, is_usable, is_changed)


def _is_usable(row: dict[str, Any], kind: str) -> bool:
    judged = judge(row)
    return judged.is_usable and judged.kind == kind


_TEXTS = ("prompt", "completion", "text", "chosen", "rejected")


def text(value: str) -> str:
    """Without NUL and byte order marks; UTF-8 that was read as something else is turned back."""
    if value.isascii() and "\x00" not in value:
        return value
    value = value.replace("\x00", "").replace("\ufeff", "")
    value = value.encode("utf-8", "replace").decode()  # lone surrogates
    return ftfy.fix_encoding(value) if badness.is_bad(value) else value


def row(row: dict[str, Any], *, mends: bool, redacts: bool) -> tuple[dict[str, Any], bool]:
    """With all its texts changed so far as was asked for, and whether any of them was."""
    changed = False

    def better(value: str) -> str:
        nonlocal changed
        found = text(value) if mends else value
        found = redacted(found) if redacts else found
        changed = changed or found != value
        return found

    return {name: _in_all(value, better) for name, value in row.items()}, changed


def _in_all(value: Any, better: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return better(value)
    if isinstance(value, list):
        return [_in_all(item, better) for item in value]
    if isinstance(value, dict):
        return {name: _in_all(item, better) for name, item in value.items()}
    return value


def structure(row: dict[str, Any]) -> dict[str, Any]:
    """Numbers written as text where text is wanted, and speakers by their usual names."""
    found = dict(row)
    for name in _TEXTS:
        if isinstance(found.get(name), int | float) and not isinstance(found[name], bool):
            found[name] = str(found[name])
    for name in ("messages", "prompt", "completion", "chosen", "rejected"):
        if isinstance(found.get(name), list):
            found[name] = [_message(message) for message in found[name]]
    return found


def _message(message: Any) -> Any:
    if not isinstance(message, dict):
        return message
    role, content = message.get("role"), message.get("content")
    if isinstance(role, str):
        message = {**message, "role": SPEAKERS.get(role.strip().lower(), role)}
    if isinstance(content, int | float) and not isinstance(content, bool):
        message = {**message, "content": str(content)}
    return message
