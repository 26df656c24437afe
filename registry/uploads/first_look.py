"""What the first bytes of a file say about it: a wrong one is told before the rest has come."""

from __future__ import annotations

import json
from pathlib import Path

from registry import archives, doctor
from registry.hub.selection import why_no_model_file

LOOKED_AT_BYTES = 64 * 1024
MOST_LINES = 50
LINES_OF_JSON = (".jsonl", ".ndjson")
# Where in a file a format writes its name, and as what.
_MARKS = {
    ".parquet": (0, (b"PAR1",)),
    ".zip": (0, (b"PK\x03\x04", b"PK\x05\x06")),
    ".tar": (257, (b"ustar",)),
    ".tgz": (0, (b"\x1f\x8b",)),
    ".gz": (0, (b"\x1f\x8b",)),
    ".bz2": (0, (b"BZh",)),
    ".xz": (0, (b"\xfd7zXZ",)),
    ".zst": (0, (b"\x28\xb5\x2f\xfd",)),
    ".gguf": (0, (b"GGUF",)),
    ".safetensors": (8, (b"{",)),  # behind the length of its header
}


def kinds() -> str:
    return ", ".join((*doctor.ROW_FILES, *archives.SUFFIXES))


def why_not(file_name: str) -> str:
    """Why files that are called like this can become neither a dataset nor a model."""
    if is_of_a_dataset(file_name) or is_of_a_model(file_name):
        return ""
    return (
        f"'{file_name}' is none of the files that are taken: {kinds()}, and of a model its "
        "safetensors or GGUF with what stands beside them. This one is "
        f"{why_no_model_file(file_name)}."
    )


def is_of_a_dataset(file_name: str) -> bool:
    return archives.is_one(file_name) or bool(doctor.suffix_of(file_name))


def is_of_a_model(file_name: str) -> bool:
    return archives.is_one(file_name) or not why_no_model_file(file_name)


def problem(file_name: str, head: bytes, *, is_all: bool) -> str:
    """Why this cannot be what its name says; "" where nothing speaks against it. ``head`` is how it
    begins, ``is_all`` that nothing comes behind it."""
    suffix = Path(file_name.lower()).suffix  # of a packed file that of its packing
    if suffix in LINES_OF_JSON:
        return _problem_of_lines(file_name, head, is_all=is_all)
    offset, marks = _MARKS.get(suffix, (0, ()))
    longest = max(map(len, marks), default=0)
    has_come = is_all or len(head) >= offset + longest
    if marks and has_come and not head[offset:].startswith(marks):
        return f"'{file_name}' is no {suffix} file: it does not begin like one."
    return ""


def _problem_of_lines(file_name: str, head: bytes, *, is_all: bool) -> str:
    if b"\x00" in head:
        return f"'{file_name}' is no text: there are NUL bytes in it."
    lines = head.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    whole = lines if is_all else lines[:-1]
    if not is_all and not whole and len(head) >= LOOKED_AT_BYTES:
        return ""  # a first line that long may still be one
    for number, line in enumerate(whole[:MOST_LINES], start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            return (
                f"Line {number} of '{file_name}' is not JSON. It must be one JSON object a line, "
                f"and this one begins with {_shown(line)}."
            )
        if not isinstance(row, dict):
            return f"Line {number} of '{file_name}' is JSON, but no object: {_shown(line)}."
    return ""


def _shown(line: bytes) -> str:
    return repr(line.strip()[:40].decode("utf-8", "replace"))
