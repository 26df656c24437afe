"""What is done with one batch of rows, in whichever process: everything that needs no other."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from api.plain import plain_text
from registry.doctor.findings import Finding, Findings, Level
from registry.doctor.keys import key_of
from registry.doctor.languages import can_be_told
from registry.doctor.layouts import Layout
from registry.doctor.lengths import Lengths
from registry.doctor.likeness import VALUES, Keys, Sketches, sketches_of
from registry.doctor.mend import Mending
from registry.doctor.named_images import problem_with
from registry.doctor.readers import Batch
from registry.doctor.report import MOST_COLUMNS
from registry.doctor.rows import Judged, judge
from registry.doctor.texts import VERY_LONG_CHARACTERS, troubles

SAMPLED_ROWS = 40  # of a batch, to guess their language
_SAMPLED_CHARACTERS = 1000
_LONGEST_LABEL = 200


@dataclass(frozen=True)
class Expected:
    """What all rows should be like: ``kind`` as that of ``first_row``."""

    layout: Layout = field(default_factory=Layout)
    kind: str = ""
    first_row: str = ""


@dataclass(frozen=True)
class Job:
    """``file`` is as findings name it, ``folder`` where it lies. With ``mending`` the rows are
    judged as they are after it."""

    batch: Batch
    file: str
    folder: str
    is_table: bool
    expected: Expected
    mending: Mending | None = None


@dataclass
class Examined:
    """Of the usable rows of a batch, in their order: ``keys``, ``asked`` (the key of what comes
    before the answer), ``lines`` and ``sketches``."""

    findings: Findings = field(default_factory=Findings)
    read: int = 0
    rows: int = 0
    characters: int = 0
    max_characters: int = 0
    lengths: Lengths = field(default_factory=Lengths)
    columns: set[str] = field(default_factory=set)
    labels: Counter[str] = field(default_factory=Counter)
    samples: list[str] = field(default_factory=list)
    keys: Keys = field(default_factory=lambda: np.empty(0, np.uint64))
    asked: Keys = field(default_factory=lambda: np.empty(0, np.uint64))
    lines: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    sketches: Sketches = field(default_factory=lambda: np.empty((0, VALUES), np.uint8))


def examine(job: Job) -> Examined:
    found = Examined()
    keys: list[int] = []
    asked: list[int] = []
    lines: list[int] = []
    texts: list[str] = []
    for line, row, problem in job.batch.read():
        found.read += 1
        if problem is not None:
            found.findings.add(replace(problem, file=job.file, line=line or None))
            continue
        judged = _judged(row, line, job, found)
        if judged is None:
            continue
        keys.append(judged.key)
        asked.append(key_of(judged.asked) if judged.asked else keys[-1])
        lines.append(line)
        texts.append("\n".join(text for _, text in judged.texts))
    found.rows = len(keys)
    found.keys, found.asked = np.array(keys, np.uint64), np.array(asked, np.uint64)
    found.lines, found.sketches = np.array(lines, np.int64), sketches_of(texts)
    step = max(len(texts) // SAMPLED_ROWS, 1)
    found.samples = [
        plain_text(text[:_SAMPLED_CHARACTERS]) for text in texts[::step] if can_be_told(text)
    ]
    return found


def _judged(row: dict[str, Any], line: int, job: Job, found: Examined) -> Judged | None:
    """None where the row cannot be used; what is wrong with it has been told then."""
    if not row.keys() <= found.columns and len(found.columns) < MOST_COLUMNS:
        found.columns.update(plain_text(str(name)[:100]) for name in row)
    row = job.expected.layout.row(row, is_table=job.is_table)
    if job.mending is not None:
        row = job.mending.of(row, job.expected.kind).row
    judged = judge(row)
    for problem in judged.problems:
        found.findings.add(replace(problem, file=job.file, line=line))
    if not judged.kind:
        return None
    if judged.kind != job.expected.kind:
        found.findings.add(
            Finding(
                code="mixed_formats",
                message=f"A row of kind {judged.kind}; {job.expected.first_row} is of kind "
                f"{job.expected.kind}.",
                fix="Keep one kind of row in a dataset.",
                file=job.file,
                line=line,
            )
        )
        return None
    if not judged.is_usable:
        return None
    named = judged.texts[0][1] if judged.kind == "labelled_image" and judged.texts else ""
    if named and (blame := problem_with(named, job.folder)):
        found.findings.add(replace(blame, file=job.file, line=line))
        return None
    _look_into(judged, line, job, found)
    found.characters += judged.characters
    found.max_characters = max(found.max_characters, judged.characters)
    if judged.characters:
        found.lengths.add(judged.characters)
    if judged.label is not None:
        found.labels[str(judged.label)[:_LONGEST_LABEL]] += 1
    return judged


def _look_into(judged: Judged, line: int, job: Job, found: Examined) -> None:
    """Warnings about texts that can be used all the same: of each kind one for a row."""
    seen: set[str] = set()
    for field_, text in judged.texts:
        for trouble in troubles(text):
            if trouble.code in seen:
                continue
            seen.add(trouble.code)
            found.findings.add(
                Finding(
                    code=trouble.code,
                    message=plain_text(trouble.message),
                    fix=trouble.fix,
                    level=Level.WARNING,
                    file=job.file,
                    line=line,
                    field=field_,
                )
            )
    if judged.characters > VERY_LONG_CHARACTERS:
        found.findings.add(
            Finding(
                code="very_long",
                message=f"The row has {judged.characters:,} characters; most models cut it.",
                fix="Split the text into several rows.",
                level=Level.WARNING,
                file=job.file,
                line=line,
            )
        )
