"""Read every row once, line by line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from api.plain import plain_text
from registry.doctor.findings import Finding, Level
from registry.doctor.report import Report
from registry.doctor.rows import judge
from registry.doctor.splits import SPLITS, sort_files
from registry.files import relative_name

# A longer line is read past, not into memory.
LONGEST_LINE_BYTES = 16 * 1024 * 1024
MOST_COLUMNS = 200
# Held-out rows that are remembered to look for them in the train split: some 64 MB.
MOST_REMEMBERED = 1_000_000


def check(path: Path) -> Report:
    """Examine a folder of JSONL files, or one file. Raises BadPath where it cannot be walked."""
    return _Check(path).run()


@dataclass
class _Check:
    path: Path
    report: Report = field(default_factory=Report)
    held_out: dict[int, str] = field(default_factory=dict)
    first_row: str = ""

    def run(self) -> Report:
        files, strays = sort_files(self.path)
        self._about_files(files, strays)
        # Held-out splits first: there are fewer rows to remember in them.
        for split in ("test", "validation", "train"):
            if split in files:
                self.report.rows[split] = 0
                for file in files[split]:
                    self._file(file, split, keyed=len(files) > 1)
        if files and not self.report.num_samples:
            self._add("no_rows", "There is no usable row.", "Add rows, or correct those there are.")
        return self.report

    def _about_files(self, files: dict[str, list[Path]], strays: list[Path]) -> None:
        for file in strays:
            self._add(
                "bad_split",
                f"Nobody can tell which split {self._name(file)} belongs to; it is not used.",
                f"Begin its name with one of {', '.join(SPLITS)}.",
                level=Level.WARNING,
                file=self._name(file),
            )
        if not files:
            self._add("no_files", "There is no file with rows.", "Add a train.jsonl.")
        elif "train" not in files:
            self._add(
                "no_train_split",
                "There is no train split.",
                "Name the file to train on train.jsonl.",
                level=Level.WARNING,
            )

    def _file(self, path: Path, split: str, *, keyed: bool) -> None:
        name = self._name(path)
        try:
            self.report.size_bytes += path.stat().st_size
            with open(path, "rb") as file:
                for number, line in enumerate(_lines(file), start=1):
                    self._line(line, name, number, split, keyed=keyed)
        except OSError as error:
            self._add(
                "unreadable",
                f"{name} cannot be read: {error.strerror}.",
                "Check the file and its permissions.",
                file=name,
            )

    def _line(self, line: bytes | None, file: str, number: int, split: str, *, keyed: bool) -> None:
        if line is not None and not line.strip():
            return
        row, problem = _parse(line)
        if problem is not None:
            self.report.findings.add(replace(problem, file=file, line=number))
            return
        judged = judge(row, keyed=keyed)
        for finding in judged.problems:
            self.report.findings.add(replace(finding, file=file, line=number))
        if not judged.kind:
            return
        where = f"{file}, line {number}"
        if not self.first_row:
            self.report.row_format, self.first_row = judged.kind, where
        if judged.kind != self.report.row_format:
            self._add(
                "mixed_formats",
                f"A row of kind {judged.kind}; {self.first_row} is of kind "
                f"{self.report.row_format}.",
                "Keep one kind of row in a dataset.",
                file=file,
                line=number,
            )
        elif judged.is_usable:
            self._count(row, judged.characters, split)
            if keyed:
                self._compare(judged.key, split, file, number)

    def _count(self, row: dict[str, Any], characters: int, split: str) -> None:
        report = self.report
        report.rows[split] += 1
        report.characters += characters
        report.max_characters = max(report.max_characters, characters)
        if characters:
            report.lengths[split].add(characters)
        if not row.keys() <= report.columns and len(report.columns) < MOST_COLUMNS:
            report.columns.update(plain_text(name[:100]) for name in row)

    def _compare(self, key: int, split: str, file: str, number: int) -> None:
        """A row to train on must not be one of those that measure what was learned."""
        other = self.held_out.get(key, split)
        if other != split:
            self._add(
                "leakage",
                f"The same row is in the {other} split.",
                f"Remove it from {split} or from {other}.",
                level=Level.WARNING,
                file=file,
                line=number,
            )
        elif split != "train" and len(self.held_out) < MOST_REMEMBERED:
            self.held_out[key] = split

    def _name(self, file: Path) -> str:
        return plain_text(relative_name(self.path, file))

    def _add(
        self,
        code: str,
        message: str,
        fix: str,
        *,
        level: Level = Level.ERROR,
        file: str = "",
        line: int | None = None,
    ) -> None:
        self.report.findings.add(
            Finding(code=code, message=message, fix=fix, level=level, file=file, line=line)
        )


def _lines(file: Any) -> Iterator[bytes | None]:
    """The lines of a file opened in binary; None stands for one that is too long to hold."""
    while line := file.readline(LONGEST_LINE_BYTES + 1):
        if len(line) <= LONGEST_LINE_BYTES:
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(LONGEST_LINE_BYTES)
        yield None


_NOT_JSON = Finding(code="not_json", message="", fix="Write one JSON object on each line.")


def _parse(line: bytes | None) -> tuple[dict[str, Any], Finding | None]:
    """The row, or what keeps the line from being one."""
    if line is None:
        limit = LONGEST_LINE_BYTES // 1024 // 1024
        return {}, Finding(
            code="too_long", message=f"The line is longer than {limit} MB.", fix="Split the row."
        )
    try:
        value = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        return {}, Finding(
            code="invalid_utf8",
            message=f"Byte {error.start + 1} of the line is not UTF-8.",
            fix="Save the file as UTF-8.",
        )
    except json.JSONDecodeError as error:
        message = f"Not JSON: {error.msg} at column {error.colno}."
        return {}, replace(_NOT_JSON, message=message)
    except (ValueError, RecursionError):  # a number of thousands of digits; nested without end
        return {}, replace(_NOT_JSON, message="Not JSON that can be read: too large or too deep.")
    if not isinstance(value, dict):
        return {}, Finding(
            code="not_an_object",
            message="The line is JSON, but not an object.",
            fix='Write {"prompt": …, "completion": …}, or another kind of row.',
        )
    return value, None
