"""Read every row once, and compare all with all."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from api.plain import plain_text
from registry.doctor.batch import Examined, Expected, Job, examine
from registry.doctor.comparison import compare
from registry.doctor.findings import Finding, Level
from registry.doctor.formats import format_of
from registry.doctor.languages import MOST_SAMPLED, languages_of
from registry.doctor.layouts import Layout, recognised
from registry.doctor.likeness import Gathered
from registry.doctor.mend import Mending
from registry.doctor.processes import in_order
from registry.doctor.readers import Read, batches
from registry.doctor.report import Report
from registry.doctor.rows import judge
from registry.doctor.splits import SPLITS, sort_files
from registry.doctor.twins import Twins
from registry.files import relative_name

# Held-out splits first: a row of theirs that is also in train is named there.
ORDER = SPLITS[::-1]
RECOGNISED_ROWS = 200

Progress = Callable[[int, int], None]


@dataclass
class Checked:
    """A report, and of its usable rows what a copy or a comparison needs: ``keys``, ``asked``,
    ``places`` (file and line: `place_of`) and ``twins``. ``files`` are (split, path)."""

    root: Path
    report: Report
    files: list[tuple[str, Path]]
    keys: npt.NDArray[np.uint64]
    asked: npt.NDArray[np.uint64]
    places: npt.NDArray[np.int64]
    twins: Twins


def check(
    path: Path,
    *,
    columns: Mapping[str, str] | None = None,
    processes: int = 1,
    progress: Progress = lambda rows, read_bytes: None,
) -> Report:
    """Examine a folder of files with rows, or one file. ``columns`` says in which column each of
    our fields stands; without it they are found. Raises BadPath where it cannot be walked."""
    return check_whole(path, columns=columns, processes=processes, progress=progress).report


def check_whole(
    path: Path,
    *,
    columns: Mapping[str, str] | None = None,
    processes: int = 1,
    progress: Progress = lambda rows, read_bytes: None,
    mending: Mending | None = None,
) -> Checked:
    return _Check(path, dict(columns or {}), processes, progress, mending).run()


@dataclass
class _Check:
    path: Path
    columns: dict[str, str]
    processes: int
    progress: Progress
    mending: Mending | None
    report: Report = field(default_factory=Report)
    gathered: Gathered = field(default_factory=Gathered)
    asked: list[npt.NDArray[np.uint64]] = field(default_factory=list)
    places: list[npt.NDArray[np.int64]] = field(default_factory=list)
    samples: list[str] = field(default_factory=list)
    read_bytes: int = 0

    def run(self) -> Checked:
        by_split, strays = sort_files(self.path)
        self._about_files(by_split, strays)
        files = [(split, file) for split in ORDER for file in by_split.get(split, [])]
        expected = self._expected(by_split)
        for split in by_split:
            self.report.rows[split] = 0
        jobs = self._jobs(files, expected)
        for (number, read_bytes), done in in_order(examine, jobs, self.processes):
            self._take(number, files[number][0], done, read_bytes)
        twins = self.gathered.twins()
        checked = Checked(
            self.path,
            self.report,
            files,
            self.gathered.all_keys,
            np.concatenate([np.empty(0, np.uint64), *self.asked]),
            np.concatenate([np.empty(0, np.int64), *self.places]),
            twins,
        )
        compare(checked, [self._name(file) for _, file in files])
        self._at_last(files)
        return checked

    def _at_last(self, files: list[tuple[str, Path]]) -> None:
        self.report.languages = languages_of(self.samples)
        if files and not self.report.num_samples:
            self._add("no_rows", "There is no usable row.", "Add rows, or correct those there are.")

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

    # --- What the rows are -----------------------------------------------------------------------

    def _expected(self, by_split: dict[str, list[Path]]) -> Expected:
        """From the first rows of the split to train on, or of another."""
        if not by_split:
            return Expected()
        file = (by_split.get("train") or next(iter(by_split.values())))[0]
        is_table = format_of(file.name) == "table"
        rows = self._first_rows(file)
        given = Layout("columns", self.columns) if self.columns else None
        layout = given or recognised([read.row for read in rows])
        self.report.layout = layout
        for read in rows:
            kind = judge(layout.row(read.row, is_table=is_table)).kind
            if kind:
                self.report.row_format = kind
                self._about_layout(layout)
                where = f"{self._name(file)}, line {read.line}"
                return Expected(layout, kind, where)
        return Expected(layout)

    def _first_rows(self, file: Path) -> list[Read]:
        """As they are, without what cannot be read."""
        try:
            rows = (read for batch in batches(file, mends=self._mends) for read in batch.read())
            usable = (read for read in itertools.islice(rows, 5000) if not read.problem)
            return list(itertools.islice(usable, RECOGNISED_ROWS))
        except (OSError, RecursionError):
            return []

    def _about_layout(self, layout: Layout) -> None:
        words = ", ".join(f"{column} as {name}" for name, column in layout.columns.items())
        if layout.needs_copy:
            self._add(
                "foreign_layout",
                f"The rows are laid out as {layout.title} has them, which no training reads.",
                "Make a repaired copy: it has the same rows as prompt and completion, or messages.",
            )
        elif layout.columns and not self.columns:
            self._add(
                "columns_found",
                f"No row has our names, so jobs read {words}.",
                "Choose other columns on the dataset's page, if that is not what is meant.",
                level=Level.WARNING,
            )

    # --- All rows --------------------------------------------------------------------------------

    def _jobs(
        self, files: list[tuple[str, Path]], expected: Expected
    ) -> Iterator[tuple[tuple[int, int], Job]]:
        before = 0
        for number, (_, file) in enumerate(files):
            name = self._name(file)
            try:
                size = file.stat().st_size
                self.report.size_bytes += size
                for batch in batches(file, mends=self._mends):
                    is_table = format_of(file.name) == "table"
                    job = Job(batch, name, str(file.parent), is_table, expected, self.mending)
                    yield (number, before + min(batch.read_bytes, size)), job
                before += size
            except OSError as error:
                self._add(
                    "unreadable",
                    f"{name} cannot be read: {error.strerror}.",
                    "Check the file and its permissions.",
                    file=name,
                )

    def _take(self, file: int, split: str, done: Examined, read_bytes: int) -> None:
        report = self.report
        report.findings.merge(done.findings)
        report.read += done.read
        report.rows[split] += done.rows
        report.characters += done.characters
        report.max_characters = max(report.max_characters, done.max_characters)
        if done.lengths.places:
            report.lengths[split].merge(done.lengths)
        report.add_columns(done.columns)
        report.add_labels(done.labels)
        if len(self.samples) < MOST_SAMPLED:
            self.samples += done.samples
        kept = self.gathered.add(done.keys, done.sketches)
        self.asked.append(done.asked[:kept])
        self.places.append(done.lines[:kept] | np.int64(file << 40))
        self.read_bytes = max(self.read_bytes, read_bytes)
        self.progress(report.read, self.read_bytes)

    @property
    def _mends(self) -> bool:
        return self.mending is not None and self.mending.mends

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
