"""Rows from files of any size, a part at a time: JSON lines, JSON, plain text.

A reader hands over batches. Of JSON lines that is a block of bytes, to be parsed by whichever
process has time; of everything else, rows. Nothing here raises for what stands in a file: it
becomes a finding with its line.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import orjson

from api.plain import plain_text
from registry.doctor.findings import Finding
from registry.doctor.formats import format_of, suffix_of
from registry.doctor.unpack import SEEN_BYTES, Damaged, open_rows

# A longer line is read past, not into memory.
LONGEST_LINE_BYTES = 16 * 1024 * 1024
BLOCK_BYTES = 2 * 1024 * 1024
ROWS_AT_ONCE = 1000
BOM = b"\xef\xbb\xbf"
_WIDE_BOMS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
NOT_JSON = Finding(code="not_json", message="", fix="Write one JSON object on each line.")


class Read(NamedTuple):
    """A row with its line (of Parquet and Arrow the row's number), or what keeps it from being
    one: then the row is empty."""

    line: int
    row: dict[str, Any]
    problem: Finding | None = None


@dataclass(frozen=True)
class Batch:
    """``block`` is lines of JSON from ``first_line`` on; otherwise ``rows`` are there already.
    ``read_bytes`` of the file have been read by the end of it."""

    read_bytes: int
    rows: list[Read] = field(default_factory=list)
    block: bytes = b""
    first_line: int = 1
    mends: bool = False

    def read(self) -> list[Read]:
        return _parse_block(self) if self.block else self.rows


def batches(path: Path, *, mends: bool = False) -> Iterator[Batch]:
    """Everything in the file. With ``mends`` what is not UTF-8 is read as what it most likely is,
    otherwise it is a finding. Raises OSError."""
    from registry.doctor import tables

    kind = format_of(path.name)
    if kind in ("parquet", "arrow"):
        read = tables.parquet if kind == "parquet" else tables.arrow
        yield from grouped(read(path), path)
        return
    try:
        with open_rows(path) as file:
            yield from _of_text(file, path, kind, mends=mends)
    except Damaged as error:
        found = Finding(
            code=error.code,
            message=plain_text(str(error))[:300],
            fix="Fetch or compress the file again.",
        )
        yield Batch(_size(path), [Read(0, {}, found)])


def _of_text(file: BinaryIO, path: Path, kind: str, *, mends: bool) -> Iterator[Batch]:
    from registry.doctor import tables

    start = cast(Any, file).peek(SEEN_BYTES)[:SEEN_BYTES]
    wide = _WIDE_BOMS.get(start[:2])
    if wide and not mends:
        found = Finding(
            code="invalid_utf8",
            message="The file is UTF-16, as Windows programs write it.",
            fix="Save it as UTF-8; a repaired copy is.",
        )
        yield Batch(_size(path), [Read(0, {}, found)])
        return
    lines = _rewritten(file, wide) if wide else _lines(file)
    if kind == "json" and start.removeprefix(BOM).lstrip()[:1] != b"{":
        with io.TextIOWrapper(file, wide or "utf-8-sig", errors="surrogateescape") as text:
            yield from grouped(_json_array(text, mends=mends), path)
    elif kind == "json_lines" or kind == "json":
        if kind == "json" and _is_one_object(start):
            yield Batch(_size(path), [Read(1, {}, _ONE_OBJECT)])
            return
        yield from _blocks(lines, mends=mends)
    elif kind == "table":
        tab = "\t" if suffix_of(path.name) == ".tsv" else ""
        yield from grouped(tables.table(lines, separator=tab, mends=mends), path)
    else:
        yield from grouped(_paragraphs(lines, start, mends=mends), path)


def _size(path: Path) -> int:
    return path.stat().st_size


def grouped(rows: Iterator[Read], path: Path) -> Iterator[Batch]:
    """How far the file has been read is not known between its ends."""
    waiting: list[Read] = []
    for row in rows:
        waiting.append(row)
        if len(waiting) >= ROWS_AT_ONCE:
            yield Batch(0, waiting)
            waiting = []
    yield Batch(_size(path), waiting)


# --- Lines ---------------------------------------------------------------------------------------


def _lines(file: BinaryIO) -> Iterator[bytes | None]:
    """The lines of a file opened in binary; None stands for one that is too long to hold."""
    while line := file.readline(LONGEST_LINE_BYTES + 1):
        if len(line) <= LONGEST_LINE_BYTES:
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(LONGEST_LINE_BYTES)
        yield None


def _rewritten(file: BinaryIO, encoding: str) -> Iterator[bytes | None]:
    """Lines of another encoding, as UTF-8."""
    with io.TextIOWrapper(file, encoding, errors="replace", newline="\n") as text:
        while line := text.readline(LONGEST_LINE_BYTES + 1):
            if len(line) <= LONGEST_LINE_BYTES:
                yield line.encode()
                continue
            while line and not line.endswith("\n"):
                line = text.readline(LONGEST_LINE_BYTES)
            yield None


def too_long() -> Finding:
    limit = LONGEST_LINE_BYTES // 1024 // 1024
    return Finding(
        code="too_long", message=f"The line is longer than {limit} MB.", fix="Split the row."
    )


def decoded(line: bytes, *, mends: bool) -> str | Finding:
    """The text of a line, or why it has none."""
    try:
        return line.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if mends:
            return line.decode("cp1252", "replace")
        return Finding(
            code="invalid_utf8",
            message=f"Byte {error.start + 1} of the line is not UTF-8.",
            fix="Save the file as UTF-8.",
        )


# --- JSON lines ----------------------------------------------------------------------------------


def _blocks(lines: Iterator[bytes | None], *, mends: bool) -> Iterator[Batch]:
    """Whole lines together, as many as make a block."""
    kept: list[bytes] = []
    size = read_bytes = 0
    first = number = 1
    for number, line in enumerate(lines, start=1):
        if line is None:
            if kept:
                yield Batch(read_bytes, block=b"".join(kept), first_line=first, mends=mends)
            yield Batch(read_bytes, [Read(number, {}, too_long())])
            kept, size, first = [], 0, number + 1
            continue
        kept.append(line)
        size += len(line)
        read_bytes += len(line)
        if size >= BLOCK_BYTES:
            yield Batch(read_bytes, block=b"".join(kept), first_line=first, mends=mends)
            kept, size, first = [], 0, number + 1
    if kept:
        yield Batch(read_bytes, block=b"".join(kept), first_line=first, mends=mends)


def _parse_block(batch: Batch) -> list[Read]:
    found = []
    lines = batch.block.split(b"\n")
    if lines and not lines[-1]:
        lines.pop()
    for number, line in enumerate(lines, start=batch.first_line):
        if line and not line.isspace():
            found.append(_parsed(line, number, mends=batch.mends))
    return found


def _parsed(line: bytes, number: int, *, mends: bool) -> Read:
    try:
        value = orjson.loads(line)
    except ValueError:  # or something that only Python's own parser takes
        text = decoded(line, mends=mends)
        if isinstance(text, Finding):
            return Read(number, {}, text)
        try:
            value = json.loads(text)
        except json.JSONDecodeError as error:
            message = f"Not JSON: {error.msg} at column {error.colno}."
            return Read(number, {}, replace(NOT_JSON, message=message))
        except (ValueError, RecursionError):  # a number of thousands of digits; without end
            message = "Not JSON that can be read: too large or too deep."
            return Read(number, {}, replace(NOT_JSON, message=message))
    if isinstance(value, dict):
        return Read(number, value)
    return Read(number, {}, _NOT_AN_OBJECT)


_NOT_AN_OBJECT = Finding(
    code="not_an_object",
    message="The line is JSON, but not an object.",
    fix='Write {"prompt": …, "completion": …}, or another kind of row.',
)
_ONE_OBJECT = Finding(
    code="not_an_array",
    message="The file is one JSON object, not an array of rows.",
    fix="Write an array of objects, or an object on each line (of pandas: orient='records').",
)


def _is_one_object(start: bytes) -> bool:
    """Does the first line only begin an object that other lines go on with?"""
    first, newline, _ = start.removeprefix(BOM).lstrip().partition(b"\n")
    if not newline:
        return False
    try:
        json.loads(first)
    except (ValueError, RecursionError):
        return first.strip() in (b"{", b"") or first.rstrip().endswith((b",", b"{", b"[", b":"))
    return False


# --- A JSON array --------------------------------------------------------------------------------

_BLANK = re.compile(r"\s*")


def _json_array(text: io.TextIOWrapper, *, mends: bool) -> Iterator[Read]:
    """Objects in an array, however many stand on a line; after a mistake nobody knows where the
    next one begins, so it is the last."""
    window = _Window(text, mends=mends)
    number = 0
    try:
        if window.next_character() != "[":
            yield Read(1, {}, replace(_ONE_OBJECT, message="The file is no JSON array."))
            return
        window.position += 1
        while (found := window.next_character()) != "]":
            number += 1
            if number > 1:
                if found != ",":
                    raise ValueError(f"',' is expected, not {found!r}" if found else "it ends")
                window.position += 1
            value = window.next_value()
            problem = None if isinstance(value, dict) else _NOT_AN_OBJECT
            yield Read(number, value if isinstance(value, dict) else {}, problem)
    except _Stopped as error:
        yield Read(max(number, 1), {}, error.finding)
    except (ValueError, RecursionError) as error:
        message = plain_text(f"Not JSON from here on: {error}."[:300])
        yield Read(max(number, 1), {}, replace(NOT_JSON, message=message, fix="Correct the file."))


class _Stopped(Exception):
    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.message)
        self.finding = finding


class _Window:
    """The part of a JSON text that is being looked at. Bytes that are not UTF-8 are let through as
    lone surrogates, to be found in the row where they stand."""

    def __init__(self, source: io.TextIOWrapper, *, mends: bool) -> None:
        self.source = source
        self.mends = mends
        self.text = ""
        self.position = 0
        self.decoder = json.JSONDecoder()

    def next_character(self) -> str:
        """The next one that is not blank, "" at the end."""
        while True:
            blank = _BLANK.match(self.text, self.position)
            self.position = blank.end() if blank else self.position
            if self.position < len(self.text):
                return self.text[self.position]
            if not self._read_more():
                return ""

    def next_value(self) -> Any:
        """Raises ValueError where there is none, _Stopped where it is too long or not UTF-8."""
        self.next_character()
        while True:
            try:
                value, end = self.decoder.raw_decode(self.text, self.position)
            except ValueError:  # it may only be cut off
                if len(self.text) - self.position > LONGEST_LINE_BYTES:
                    raise _Stopped(too_long()) from None
                if not self._read_more():
                    raise
                continue
            written = self.text[self.position : end]
            self.position = end
            return value if written.isascii() else self._checked(written, value)

    def _checked(self, written: str, value: Any) -> Any:
        try:
            written.encode()
        except UnicodeEncodeError:
            if not self.mends:
                raise _Stopped(
                    Finding(
                        code="invalid_utf8",
                        message="The row is not UTF-8.",
                        fix="Save the file as UTF-8; a repaired copy is.",
                    )
                ) from None
            raw = written.encode("utf-8", "surrogateescape")
            return json.loads(raw.decode("cp1252", "replace"))
        return value

    def _read_more(self) -> bool:
        """As much again as there is, so that a long value is not tried too often."""
        rest = self.text[self.position :]
        more = self.source.read(max(BLOCK_BYTES // 8, len(rest)))
        self.text, self.position = rest + more, 0
        return bool(more)


# --- Plain text ----------------------------------------------------------------------------------


def _paragraphs(lines: Iterator[bytes | None], start: bytes, *, mends: bool) -> Iterator[Read]:
    """What stands between blank lines is a row; where the beginning of the file has none, each
    line is one. The trainer does the same."""
    by_line = re.search(rb"\S\r?\n[ \t]*\r?\n", start) is None
    kept: list[str] = []
    first, size = 1, 0
    for number, line in enumerate(lines, start=1):
        text = too_long() if line is None else decoded(line, mends=mends)
        if isinstance(text, Finding):
            yield Read(number, {}, text)
            continue
        is_blank = not text.strip()
        if not is_blank:
            first = first if kept else number
            kept.append(text)
            size += len(text)
        if kept and (is_blank or by_line):
            yield _row_of(kept, first, size)
            kept, size = [], 0
        elif size > LONGEST_LINE_BYTES:
            yield Read(first, {}, too_long())
            kept, size = [], 0
    if kept:
        yield _row_of(kept, first, size)


def _row_of(kept: list[str], first: int, size: int) -> Read:
    return Read(first, {"text": "".join(kept).strip()})
