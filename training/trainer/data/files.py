"""Files with rows in them, read one row after the other: JSON lines, JSON, tables, Parquet, Arrow
and plain text. The text ones may be compressed.

Whatever the size of a file, only a small part of it is in memory at any moment.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import itertools
import json
import lzma
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from io import BufferedReader, TextIOWrapper
from pathlib import Path
from typing import Any, NamedTuple

from training.trainer.failures import BadData

BLOCK = 1 << 20  # characters of a JSON file that are read at once
LONGEST_JSON = 1 << 26  # characters of one row in a JSON file
SEPARATORS = ",;\t|"  # of a table; the first that its line of names has
PARQUET_ROWS_AT_ONCE = 1000
TEXT_SEEN = 1 << 16  # bytes of a text in which a blank line is looked for


@dataclass(frozen=True)
class RowFiles:
    """``columns`` names the column of the files that one of our fields stands in, where it is not
    called as we call it. ``progress`` is told now and then how many rows and bytes were read."""

    paths: tuple[str, ...]
    columns: Mapping[str, str] = field(default_factory=dict)
    progress: Callable[[int, int], None] = lambda rows, read_bytes: None

    @property
    def size_bytes(self) -> int:
        """Of those that are there; what is missing is noticed by who reads it."""
        return sum(Path(path).stat().st_size for path in self.paths if Path(path).is_file())


class Record(NamedTuple):
    """One row. ``where`` is for people; ``read_bytes`` of the file were read by then."""

    where: str
    fields: dict[str, Any]
    read_bytes: int


def read_records(path: Path) -> Iterator[Record]:
    """Raises BadData naming the file and the line or row."""
    packing = path.suffix.lower() if path.suffix.lower() in UNPACKERS else ""
    reader = READERS.get(suffix_of(path))
    if reader is None or (packing and reader in (_parquet, _arrow)):
        raise BadData(
            f"{path.name}: rows are read from {', '.join(READERS)} files only.",
            advice="Convert the file, or correct the end of its name.",
        )
    try:
        with open(path, "rb", buffering=TEXT_SEEN) as opened:
            file: Any = opened
            if not packing:
                yield from reader(file, path.name)
                return
            with BufferedReader(UNPACKERS[packing](file), BLOCK) as unpacked:
                for record in reader(unpacked, path.name):
                    yield record._replace(read_bytes=file.tell())
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise BadData(
            f"{path.name}: cannot be unpacked ({error}).",
            advice="Fetch or compress the file again.",
        ) from error
    except OSError as error:
        raise BadData(
            f"{path.name}: cannot be read ({error.strerror or error}).",
            advice="Check that the dataset's files are still where they were registered.",
        ) from error


def suffix_of(path: Path) -> str:
    """The end of the name that says what stands in the file, without that of its compression."""
    named = path.with_suffix("") if path.suffix.lower() in UNPACKERS else path
    return named.suffix.lower()


def is_table(path: Path) -> bool:
    """Whether every cell is text."""
    return READERS.get(suffix_of(path)) is _csv


def _zstandard(file: BufferedReader) -> Any:
    import pyarrow as pa

    return pa.CompressedInputStream(pa.PythonFile(file, "r"), "zstd")


UNPACKERS: dict[str, Callable[[BufferedReader], Any]] = {
    ".gz": lambda file: gzip.GzipFile(fileobj=file),
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
    ".zst": _zstandard,
}


def bad_row(where: str, what: str) -> BadData:
    return BadData(f"{where}: {what}.", advice="Correct or remove this row and start again.")


def _json_lines(file: BufferedReader, name: str) -> Iterator[Record]:
    """An object on each line. Blank lines are skipped."""
    read_bytes = 0
    for number, line in enumerate(file, start=1):
        read_bytes += len(line)
        if not line.strip():
            continue
        where = f"{name}, line {number}"
        try:
            value = json.loads(_decoded(line, where))
        except (ValueError, RecursionError) as error:
            raise bad_row(where, f"not JSON ({error})") from error
        yield Record(where, _object(value, where), read_bytes)


def _json(file: BufferedReader, name: str) -> Iterator[Record]:
    """An array of objects; also objects on lines, which many call .json too."""
    first = file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    file.seek(0)
    if first == b"{":
        yield from _json_lines(file, name)
        return
    # What is not UTF-8 is let through, to be found in the row where it stands.
    with TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape") as text:
        yield from _json_array(text, file, name)


def _json_array(text: TextIOWrapper, file: BufferedReader, name: str) -> Iterator[Record]:
    window = _Window(text.read)
    if window.next_character() != "[":
        raise bad_row(name, "an array of objects is expected, or an object on each line")
    window.position += 1
    number = 0
    try:
        while window.next_character() != "]":
            number += 1
            where = f"{name}, row {number}"
            if number > 1:
                window.step_over(",")
            value = window.next_value()
            yield Record(where, _object(value, where), file.tell())
    except UnicodeEncodeError as error:
        raise bad_row(f"{name}, row {number}", "not UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise bad_row(f"{name}, row {number}", f"not JSON ({error})") from error


class _Window:
    """The part of a JSON text that is being looked at."""

    def __init__(self, read: Callable[[int], str]) -> None:
        self.read = read
        self.text = ""
        self.position = 0
        self.decoder = json.JSONDecoder()

    def next_character(self) -> str:
        """The next one that is not blank, "" at the end."""
        while True:
            rest = self.text[self.position : self.position + 1]
            if rest and not rest.isspace():
                return rest
            if rest:
                self.position += 1
            elif not self._read_more():
                return ""

    def step_over(self, character: str) -> None:
        if (found := self.next_character()) != character:
            raise ValueError(f"{character!r} is expected, not {found!r}")
        self.position += 1

    def next_value(self) -> Any:
        """Raises ValueError where there is none, or it is too long; UnicodeEncodeError where it
        was not UTF-8."""
        self.next_character()
        while True:
            try:
                value, end = self.decoder.raw_decode(self.text, self.position)
            except ValueError:  # it may only be cut off
                if len(self.text) - self.position > LONGEST_JSON or not self._read_more():
                    raise
            else:
                written = self.text[self.position : end]
                if not written.isascii():
                    written.encode()
                self.position = end
                return value

    def _read_more(self) -> bool:
        """As much again as there is, so that a long value is not tried too often."""
        rest = self.text[self.position :]
        more = self.read(max(BLOCK, len(rest)))
        self.text, self.position = rest + more, 0
        return bool(more)


def _csv(file: BufferedReader, name: str) -> Iterator[Record]:
    """A table (RFC 4180) whose first line names its columns; every cell is text. Cells are parted
    by commas, or by what parts the names where those have no comma."""
    csv.field_size_limit(LONGEST_JSON)
    numbered = enumerate(file, start=1)
    lines = (_decoded(line, f"{name}, line {number}") for number, line in numbered)
    header = next(lines, "")
    separator = next((one for one in SEPARATORS if one in header), ",")
    if suffix_of(Path(name)) == ".tsv":
        separator = "\t"
    table = csv.reader(itertools.chain([header], lines), strict=True, delimiter=separator)
    where = f"{name}, line 1"
    try:
        names = next(table, [])
        if len(set(names)) < len(names):
            raise bad_row(where, "two columns have the same name")
        while True:
            where = f"{name}, line {table.line_num + 1}"
            cells = next(table)
            if not cells:
                continue
            if len(cells) != len(names):
                raise bad_row(where, f"{len(cells)} cells, but the first line has {len(names)}")
            yield Record(where, dict(zip(names, cells, strict=True)), file.tell())
    except StopIteration:
        return
    except csv.Error as error:
        raise bad_row(where, f"not CSV ({error})") from error


def _parquet(file: BufferedReader, name: str) -> Iterator[Record]:
    """Nested values without their empty fields: a column of objects has every field in every row,
    and a chat template asks whether a field is there."""
    import pyarrow as pa
    from pyarrow import parquet

    size = Path(file.name).stat().st_size
    number = 0
    try:
        table = parquet.ParquetFile(file.name, buffer_size=BLOCK, pre_buffer=False)
        with table:
            for batch in table.iter_batches(PARQUET_ROWS_AT_ONCE):
                for fields in batch.to_pylist():
                    number += 1
                    plain = {column: _without_nulls(value) for column, value in fields.items()}
                    read_bytes = size * number // table.metadata.num_rows
                    yield Record(f"{name}, row {number}", plain, read_bytes)
    except pa.ArrowException as error:
        raise bad_row(f"{name}, after row {number}", f"not Parquet ({error})") from error


def _arrow(file: BufferedReader, name: str) -> Iterator[Record]:
    """Arrow's file and stream formats, and Feather; as Parquet otherwise."""
    import pyarrow as pa

    size = Path(file.name).stat().st_size
    number = 0
    is_file = file.peek(6)[:6] == b"ARROW1"
    try:
        with pa.memory_map(file.name) as source:
            opened = pa.ipc.open_file(source) if is_file else pa.ipc.open_stream(source)
            count = opened.num_record_batches if is_file else 0
            batches = map(opened.get_batch, range(count)) if is_file else opened
            for batch in batches:
                for start in range(0, batch.num_rows, PARQUET_ROWS_AT_ONCE):
                    for fields in batch.slice(start, PARQUET_ROWS_AT_ONCE).to_pylist():
                        number += 1
                        plain = {column: _without_nulls(v) for column, v in fields.items()}
                        yield Record(f"{name}, row {number}", plain, min(source.tell(), size))
    except pa.ArrowException as error:
        raise bad_row(f"{name}, after row {number}", f"not Arrow ({error})") from error


def _text(file: BufferedReader, name: str) -> Iterator[Record]:
    """What stands between blank lines is a row; where the beginning of the file has none, each
    line is one. So the dataset doctor reads it, too."""
    start = file.peek(TEXT_SEEN)[:TEXT_SEEN]
    by_line = re.search(rb"\S\r?\n[ \t]*\r?\n", start) is None
    kept: list[str] = []
    first = read_bytes = 0
    for number, line in enumerate(file, start=1):
        read_bytes += len(line)
        text = _decoded(line, f"{name}, line {number}")
        if text.strip():
            first = first if kept else number
            kept.append(text)
        if kept and (by_line or not text.strip()):
            yield Record(f"{name}, line {first}", {"text": "".join(kept).strip()}, read_bytes)
            kept = []
    if kept:
        yield Record(f"{name}, line {first}", {"text": "".join(kept).strip()}, read_bytes)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(v) for name, v in value.items() if v is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def _decoded(line: bytes, where: str) -> str:
    try:
        return line.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise bad_row(where, f"not UTF-8 ({error.reason})") from error


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise bad_row(where, f"a JSON object is expected, not {type(value).__name__}")
    return value


READERS: dict[str, Callable[[BufferedReader, str], Iterator[Record]]] = {
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".json": _json,
    ".csv": _csv,
    ".tsv": _csv,
    ".parquet": _parquet,
    ".arrow": _arrow,
    ".feather": _arrow,
    ".txt": _text,
}
