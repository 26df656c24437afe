"""What the rows or images of a dataset have to do with each other: duplicates, overlap, balance.

An image is its file, and has no line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from registry.doctor.findings import Finding, Level

if TYPE_CHECKING:
    from registry.doctor.examine import Checked
    from registry.doctor.report import Report

FEW_OF_A_LABEL = 0.01
_MANY_TIMES = 20  # as many rows of one label as of another


def compare(checked: Checked, names: list[str]) -> None:
    """Write into the report what comparing says. ``names`` are those of the files."""
    report, twins = checked.report, checked.twins
    if len(checked.keys):
        report.duplicates["compared"] = len(checked.keys)
        report.duplicates["compared_nearly"] = twins.sketched
    numbers = np.arange(len(checked.keys))
    exact = np.flatnonzero(twins.same != numbers)
    near = np.flatnonzero((twins.near != numbers) & (twins.same == numbers))
    _tell(checked, names, exact, twins.same, is_exact=True)
    _tell(checked, names, near, twins.near, is_exact=False)
    if report.num_samples > len(checked.keys) and len(checked.keys):
        _not_all(report, "Duplicates", len(checked.keys))
    if len(checked.keys) > twins.sketched:
        _not_all(report, "Near duplicates", twins.sketched)
    balance(checked.report)


def _not_all(report: Report, what: str, compared: int) -> None:
    report.findings.add(
        Finding(
            code="not_all_compared",
            message=f"{what} were looked for among the first {compared:,} of "
            f"{report.num_samples:,} rows only (those held out come first).",
            fix="Split the dataset, if it matters: each part is compared on its own.",
            level=Level.WARNING,
        )
    )


def _tell(checked: Checked, names: list[str], rows: Any, firsts: Any, *, is_exact: bool) -> None:
    """Of each row that is like an earlier one."""
    if not len(rows):
        return
    splits = np.array([split for split, _ in checked.files])
    split_of = splits[checked.places >> 40]
    across = split_of[rows] != split_of[firsts[rows]]
    findings, duplicates = checked.report.findings, checked.report.duplicates
    for crosses, codes in ((True, ("leakage", "near_leakage")), (False, _WITHIN)):
        code = codes[0] if is_exact else codes[1]
        found = rows[across == crosses]
        if not len(found):
            continue
        duplicates[code] = len(found)
        told = 0
        for row in found.tolist():
            finding = _finding(checked, names, row, int(firsts[row]), code)
            if not findings.has_room(finding):
                break
            findings.add(finding)
            told += 1
        findings.count(code, Level.WARNING, len(found) - told)


_WITHIN = ("duplicate", "near_duplicate")


def _finding(checked: Checked, names: list[str], row: int, first: int, code: str) -> Finding:
    (file, line), (other, at) = (divmod(int(checked.places[n]), 1 << 40) for n in (row, first))
    split, other_split = checked.files[file][0], checked.files[other][0]
    what = "row" if line else "image"
    same = "The same" if code in ("leakage", "duplicate") else "Nearly the same"
    where = f"line {at} of {names[other]}" if line else names[other]
    if code.endswith("leakage"):
        message = f"{same} {what} is in the {other_split} split ({where})."
        fix = f"Remove it from {split} or from {other_split}."
    else:
        message = f"{same} {what} is {'in ' if line else ''}{where}."
        fix = "Keep one of them; a repaired copy does."
    return Finding(
        code=code,
        message=message,
        fix=fix,
        level=Level.WARNING,
        file=names[file],
        line=line or None,
    )


def balance(report: Report) -> None:
    """Of labels that there is too little to learn from."""
    labels = report.labels
    if report.row_format not in ("labelled", "labelled_image") or len(labels) < 2:
        return
    ordered = labels.most_common()
    (most, rows), (fewest, few) = ordered[0], ordered[-1]
    if few * _MANY_TIMES <= rows and few < FEW_OF_A_LABEL * labels.total() * len(labels):
        report.findings.add(
            Finding(
                code="unbalanced_labels",
                message=f"{rows:,} rows have the label {most[:40]!r}, but only {few:,} have "
                f"{fewest[:40]!r}: a model learns to ignore it.",
                fix="Add rows of the rare labels, or leave some of the frequent ones out.",
                level=Level.WARNING,
            )
        )
