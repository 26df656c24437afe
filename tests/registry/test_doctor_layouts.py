"""Rows under other names, or laid out as others lay them out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from registry import doctor
from registry.doctor import Report
from registry.doctor.layouts import Layout
from tests.registry.conftest import pair
from tests.registry.files import write_rows
from training.trainer.data.files import RowFiles
from training.trainer.data.read import read_sources

TURNS = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello."}]


def checked(folder: Path, *rows: Any, **columns: str) -> Report:
    write_rows(folder / "train.jsonl", list(rows))
    return doctor.check(folder, columns=columns or None)


@pytest.mark.parametrize(
    ("row", "columns", "kind"),
    [
        (
            {"question": "a", "answer": "b"},
            {"prompt": "question", "completion": "answer"},
            "prompt_completion",
        ),
        (
            {"instruction": "a", "input": "", "output": "b"},
            {"prompt": "instruction", "completion": "output"},
            "prompt_completion",
        ),
        (
            {"Instruction": "a", "Response": "b"},
            {"prompt": "Instruction", "completion": "Response"},
            "prompt_completion",
        ),
        (
            {"conversations": [{"role": "assistant", "content": "b"}]},
            {"messages": "conversations"},
            "messages",
        ),
        ({"sentence": "a", "sentiment": 1}, {"text": "sentence", "label": "sentiment"}, "labelled"),
        ({"content": "a", "url": "b"}, {"text": "content"}, "text"),
    ],
)
def test_columns_of_other_names_are_found_and_read(
    tmp_path: Path, row: dict[str, Any], columns: dict[str, str], kind: str
):
    report = checked(tmp_path, row)
    assert (report.passed, report.row_format, report.num_samples) == (True, kind, 1)
    assert dict(report.layout.columns) == columns
    assert report.findings.counts == {"columns_found": 1}
    # The trainer reads the same row under the same columns.
    files = RowFiles((str(tmp_path / "train.jsonl"),), columns)
    assert [source.kind for source in read_sources(files)] == [kind]
    again = checked(tmp_path, row, **columns)
    assert (again.passed, dict(again.findings.counts)) == (True, {})


@pytest.mark.parametrize(
    ("row", "layout", "becomes"),
    [
        (
            {"conversations": TURNS, "system": "Be brief.", "id": 1},
            "sharegpt",
            {
                "id": 1,
                "messages": [
                    {"role": "system", "content": "Be brief."},
                    {"role": "user", "content": "Hi"},
                    {"role": "assistant", "content": "Hello."},
                ],
            },
        ),
        (
            {"instruction": "Add.", "input": "1 + 1", "output": "2"},
            "alpaca",
            {"prompt": "Add.\n\n1 + 1", "completion": "2"},
        ),
    ],
)
def test_what_no_column_can_say_needs_a_copy(
    tmp_path: Path, row: dict[str, Any], layout: str, becomes: dict[str, Any]
):
    report = checked(tmp_path, row)
    assert report.findings.counts == {"foreign_layout": 1}
    assert (report.passed, report.num_samples, report.layout.name) == (False, 1, layout)
    assert report.layout.row(row) == becomes


def test_rows_under_our_own_names_are_not_renamed(tmp_path: Path):
    report = checked(tmp_path, pair(1), {"question": "a", "answer": "b"})
    assert report.layout == Layout()
    assert report.findings.counts == {"missing_field": 1}


def test_columns_that_are_given_win_over_what_is_found(tmp_path: Path):
    row = {"prompt": "long ago", "completion": "x", "better": "b"}
    report = checked(tmp_path, row, completion="better")
    assert report.layout.row(row) == {"prompt": "long ago", "completion": "b"}
    missing = checked(tmp_path, row, {"prompt": "a", "completion": "b"}, completion="better")
    assert missing.findings.counts == {"missing_field": 1}
    assert missing.findings.kept[0].line == 2


def test_lists_may_be_kept_as_text_as_in_tables(tmp_path: Path):
    good = '[{"role": "assistant", "content": "b"}]'
    report = checked(tmp_path, {"messages": good}, {"messages": "nonsense"})
    assert (report.num_samples, dict(report.findings.counts)) == (1, {"wrong_type": 1})
