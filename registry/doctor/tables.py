"""Rows of tables: CSV and its like, Parquet, Arrow."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from api.plain import plain_text
from registry.doctor import readers
from registry.doctor.findings import Finding
from registry.doctor.readers import ROWS_AT_ONCE, Read, decoded, too_long

SEPARATORS = ",;\t|"
# Of what a row group holds when it is unpacked. Writers' own limits lie far below.
LARGEST_GROUP_BYTES = 4 * 1024**3
LARGEST_METADATA_BYTES = 256 * 1024**2
_FIX_TABLE = "Write the file as RFC 4180 says: quotes around cells with commas, quotes or newlines."


def separator_of(header: str) -> str:
    """The comma, unless the line of names has none and has another one. So does the trainer."""
    return next((one for one in SEPARATORS if one in header), ",")


def table(lines: Iterator[bytes | None], *, separator: str, mends: bool) -> Iterator[Read]:
    """A table whose first line names its columns; every cell is text."""
    csv.field_size_limit(readers.LONGEST_LINE_BYTES)
    source = _Lines(lines, mends=mends)
    header = next(source, "")
    if not header.strip():
        if source.problems:
            yield from source.problems
        return
    separator = separator or separator_of(header)
    cells_of = csv.reader(_with(header, source), strict=True, delimiter=separator)
    try:
        names = next(cells_of)
    except (csv.Error, StopIteration) as error:
        yield Read(1, {}, Finding(code="not_csv", message=f"Not CSV: {error}.", fix=_FIX_TABLE))
        return
    if len(set(names)) < len(names):
        twice = sorted({plain_text(name[:40]) for name in names if names.count(name) > 1})
        message = f"Two columns have the same name: {', '.join(twice[:5])}."
        yield Read(1, {}, Finding(code="bad_header", message=message, fix="Rename one of them."))
        return
    while True:
        line = cells_of.line_num + 1
        try:
            cells = next(cells_of)
        except StopIteration:
            yield from source.problems
            return
        except csv.Error as error:
            message = plain_text(f"Not CSV: {error}."[:300])
            yield Read(line, {}, Finding(code="not_csv", message=message, fix=_FIX_TABLE))
            continue
        yield from source.problems
        source.problems.clear()
        if not cells:
            continue
        if len(cells) != len(names):
            yield Read(line, {}, _wrong_number(len(cells), len(names)))
            continue
        yield Read(line, dict(zip(names, cells, strict=True)))


def _wrong_number(cells: int, names: int) -> Finding:
    return Finding(
        code="wrong_cells",
        message=f"{cells} cells, but the first line has {names}.",
        fix="Quote cells that have the separator in them, or complete the row.",
    )


class _Lines:
    """Decoded; what cannot be is put by in ``problems``, and its line is empty."""

    def __init__(self, lines: Iterator[bytes | None], *, mends: bool) -> None:
        self.lines = lines
        self.mends = mends
        self.number = 0
        self.problems: list[Read] = []

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = next(self.lines)
        self.number += 1
        text = too_long() if line is None else decoded(line, mends=self.mends)
        if isinstance(text, Finding):
            self.problems.append(Read(self.number, {}, text))
            return "\n"
        return text


def _with(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


# --- Parquet and Arrow ---------------------------------------------------------------------------


def parquet(path: Path) -> Iterator[Read]:
    """Nested values without their empty fields: a column of objects has every field in every row,
    and a chat template asks whether a field is there."""
    import pyarrow as pa
    from pyarrow import parquet as files

    number = 0
    try:
        source = files.ParquetFile(
            path,
            buffer_size=1 << 20,
            pre_buffer=False,
            thrift_string_size_limit=LARGEST_METADATA_BYTES,
        )
        with source:
            metadata = source.metadata
            groups = (metadata.row_group(n) for n in range(metadata.num_row_groups))
            if any(group.total_byte_size > LARGEST_GROUP_BYTES for group in groups):
                yield Read(0, {}, _damaged("Parquet", 0, "a row group is larger than 4 GB"))
                return
            for batch in source.iter_batches(ROWS_AT_ONCE):
                for row in _rows(batch):
                    number += 1
                    yield Read(number, row)
    except (pa.ArrowException, OSError, MemoryError, ValueError, OverflowError, KeyError) as error:
        yield Read(number, {}, _damaged("Parquet", number, str(error)))


def arrow(path: Path) -> Iterator[Read]:
    """Arrow's file and stream formats, and Feather, which is the former."""
    import pyarrow as pa

    number = 0
    try:
        with pa.memory_map(str(path)) as source:
            is_file = source.read(6) == b"ARROW1"
            source.seek(0)
            opened = pa.ipc.open_file(source) if is_file else pa.ipc.open_stream(source)
            for batch in _record_batches(opened, is_file=is_file):
                batch.validate(full=True)
                for start in range(0, batch.num_rows, ROWS_AT_ONCE):
                    for row in _rows(batch.slice(start, ROWS_AT_ONCE)):
                        number += 1
                        yield Read(number, row)
    except (pa.ArrowException, OSError, MemoryError, ValueError, OverflowError, KeyError) as error:
        yield Read(number, {}, _damaged("Arrow", number, str(error)))


def _record_batches(opened: Any, *, is_file: bool) -> Iterator[Any]:
    if not is_file:
        yield from opened
        return
    for number in range(opened.num_record_batches):
        yield opened.get_batch(number)


def _rows(batch: Any) -> Iterator[dict[str, Any]]:
    for fields in batch.to_pylist():
        yield {str(column): _without_nulls(value) for column, value in fields.items()}


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(v) for name, v in value.items() if v is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def _damaged(what: str, number: int, error: str) -> Finding:
    after = f", after row {number:,}" if number else ""
    return Finding(
        code="damaged",
        message=plain_text(f"It is no {what} that can be read{after}: {error}."[:300]),
        fix="Write or fetch the file again.",
    )
