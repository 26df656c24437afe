from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from registry import doctor
from registry.doctor import Level, Report, findings, readers
from tests.registry.conftest import pair
from tests.registry.files import write_rows


def codes(report: Report) -> dict[str, int]:
    return dict(report.findings.counts)


def test_a_clean_dataset_passes_with_its_statistics(rows: Path):
    report = doctor.check(rows)
    assert report.passed
    assert report.findings.kept == []
    assert report.num_samples == 10
    assert report.statistics == {
        "splits": ["train", "validation"],
        "num_splits": 2,
        "rows": {"train": 8, "validation": 2},
        "rows_read": 10,
        "row_format": "prompt_completion",
        "layout": "",
        "columns": ["completion", "prompt"],
        "mapping": {},
        "mean_characters": 17.0,
        "max_characters": 17,
        "lengths": {"train": [[17, 8]], "validation": [[17, 2]]},
        "labels": {},
        "duplicates": {"compared": 10, "compared_nearly": 10},
        "languages": {},
        "size_bytes": sum(path.stat().st_size for path in rows.iterdir()),
    }
    assert report.integrity_report["ok"] is True
    assert report.integrity_report["checked_at"].endswith("Z")


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ({"prompt": "a", "completion": "b", "id": 1}, "prompt_completion"),
        ({"prompt": "", "completion": "b"}, "prompt_completion"),
        ({"text": "a"}, "text"),
        ({"messages": [{"role": "assistant", "content": "b"}]}, "messages"),
        ({"prompt": "a", "messages": [{"role": "assistant", "content": "b"}]}, "messages"),
        (
            {
                "prompt": [{"role": "user", "content": "a"}],
                "completion": [{"role": "assistant", "content": "b"}],
            },
            "conversation",
        ),
        (
            {"messages": [{"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}]},
            "messages",
        ),
        (
            {"messages": [{"role": "assistant", "content": [{"type": "text", "text": "b"}]}]},
            "messages",
        ),
    ],
)
def test_every_kind_of_row_is_recognised(tmp_path: Path, row: dict[str, Any], kind: str):
    write_rows(tmp_path / "train.jsonl", [row])
    report = doctor.check(tmp_path)
    assert (report.row_format, report.num_samples, codes(report)) == (kind, 1, {})


@pytest.mark.parametrize(
    ("row", "code", "field", "level"),
    [
        ("{oops", "not_json", "", Level.ERROR),
        ("[" * 100_000, "not_json", "", Level.ERROR),
        ("1" * 5000, "not_json", "", Level.ERROR),
        ("[1, 2]", "not_an_object", "", Level.ERROR),
        ('"text"', "not_an_object", "", Level.ERROR),
        ({}, "missing_field", "", Level.ERROR),
        ({"instruction": "a", "output": "b"}, "missing_field", "", Level.ERROR),
        ({"prompt": "a"}, "missing_field", "completion", Level.ERROR),
        ({"completion": "a"}, "missing_field", "prompt", Level.ERROR),
        ({"prompt": "a", "completion": 5}, "wrong_type", "completion", Level.ERROR),
        ({"prompt": None, "completion": "b"}, "wrong_type", "prompt", Level.ERROR),
        ({"text": ["a"]}, "wrong_type", "text", Level.ERROR),
        ({"messages": "hi"}, "wrong_type", "messages", Level.ERROR),
        ({"messages": ["hi"]}, "wrong_type", "messages[0]", Level.ERROR),
        ({"messages": []}, "empty", "messages", Level.ERROR),
        (
            {"messages": [{"role": "gpt", "content": "a"}]},
            "bad_role",
            "messages[0].role",
            Level.ERROR,
        ),
        ({"messages": [{"content": "a"}]}, "bad_role", "messages[0].role", Level.ERROR),
        (
            {"messages": [{"role": "assistant"}]},
            "missing_field",
            "messages[0].content",
            Level.ERROR,
        ),
        (
            {"messages": [{"role": "assistant", "content": 1}]},
            "wrong_type",
            "messages[0].content",
            Level.ERROR,
        ),
        ({"messages": [{"role": "user", "content": "a"}]}, "no_answer", "messages", Level.WARNING),
        ({"prompt": "a", "completion": " \n"}, "empty", "completion", Level.WARNING),
        ({"text": ""}, "empty", "text", Level.WARNING),
    ],
)
def test_a_bad_row_is_named_with_file_line_field_and_fix(
    tmp_path: Path, row: Any, code: str, field: str, level: Level
):
    good = [{"text": "a"}, {"text": "b"}] if "text" in row else [pair(1), pair(2)]
    if isinstance(row, dict) and "messages" in row:
        good = [{"messages": [{"role": "assistant", "content": text}]} for text in "ab"]
    write_rows(tmp_path / "train.jsonl", [good[0], row, good[1]])
    report = doctor.check(tmp_path)
    assert codes(report) == {code: 1}
    found = report.findings.kept[0]
    assert (found.file, found.line, found.field) == ("train.jsonl", 2, field)
    assert found.level == level
    assert found.message
    assert found.fix
    assert report.passed is (level == Level.WARNING)
    assert report.num_samples == 2


def test_bytes_that_are_not_utf8_are_found(tmp_path: Path):
    (tmp_path / "train.jsonl").write_bytes(b'{"text": "a"}\n{"text": "\xff"}\n')
    report = doctor.check(tmp_path)
    assert codes(report) == {"invalid_utf8": 1}
    assert report.findings.kept[0].line == 2


def test_bom_crlf_blank_lines_and_a_missing_last_newline_do_no_harm(tmp_path: Path):
    (tmp_path / "train.jsonl").write_bytes(b'\xef\xbb\xbf{"text": "a"}\r\n\r\n  \n{"text": "b"}')
    report = doctor.check(tmp_path)
    assert (report.num_samples, codes(report)) == (2, {})


def test_kinds_of_rows_are_not_mixed(tmp_path: Path):
    write_rows(tmp_path / "train.jsonl", [pair(1), {"text": "a"}])
    report = doctor.check(tmp_path)
    assert codes(report) == {"mixed_formats": 1}
    assert "train.jsonl, line 1" in report.findings.kept[0].message
    assert not report.passed


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (["train", "validation", "test"], {"train", "validation", "test"}),
        (["train", "valid"], {"train", "validation"}),
        (["Train", "VAL"], {"train", "validation"}),
        (["train", "dev"], {"train", "validation"}),
        (["train-00000-of-00002", "train-00001-of-00002"], {"train"}),
        (["alpaca"], {"train"}),
        (["alpaca", "test"], {"train", "test"}),
        (["training"], {"train"}),
        (["a", "b"], set()),
    ],
)
def test_a_files_name_says_its_split(tmp_path: Path, names: list[str], splits: set[str]):
    for name in names:
        write_rows(tmp_path / "data" / f"{name}.jsonl", [pair(1)])
    assert set(doctor.split_files(tmp_path)) == splits


def test_a_single_file_is_a_dataset_too(tmp_path: Path):
    path = write_rows(tmp_path / "rows.ndjson", [pair(1)])
    assert doctor.split_files(path) == {"train": [path]}
    assert doctor.check(path).passed


def test_a_file_of_no_split_is_told_and_left_out(rows: Path):
    write_rows(rows / "extra.jsonl", ["nonsense"])
    report = doctor.check(rows)
    assert codes(report) == {"bad_split": 1}
    assert report.passed
    assert report.num_samples == 10


def test_a_missing_train_split_is_a_warning(tmp_path: Path):
    write_rows(tmp_path / "test.jsonl", [pair(1)])
    report = doctor.check(tmp_path)
    assert codes(report) == {"no_train_split": 1}
    assert report.passed


@pytest.mark.parametrize("lines", [[], [""], [{"text": ""}]])
def test_without_a_usable_row_nothing_passes(tmp_path: Path, lines: list[Any]):
    write_rows(tmp_path / "train.jsonl", lines)
    report = doctor.check(tmp_path)
    assert not report.passed
    assert report.findings.counts["no_rows"] == 1


def test_a_folder_without_files_of_rows_does_not_pass(tmp_path: Path):
    report = doctor.check(tmp_path)
    assert codes(report) == {"no_files": 1}
    assert not report.passed


def test_a_row_of_train_that_is_also_held_out_is_leakage(rows: Path):
    reordered = json.dumps(dict(reversed(pair(8).items())))
    write_rows(rows / "train.jsonl", [pair(1), reordered, pair(2)])
    write_rows(rows / "test.jsonl", [pair(9), pair(20)])
    report = doctor.check(rows)
    assert codes(report) == {"leakage": 2}
    assert {(f.file, f.line) for f in report.findings.kept} == {
        ("train.jsonl", 2),
        ("validation.jsonl", 2),
    }
    assert report.passed


def test_only_the_first_findings_are_kept_and_all_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(findings, "MOST_KEPT", 5)
    write_rows(tmp_path / "train.jsonl", ["x"] * 20)
    report = doctor.check(tmp_path)
    assert len(report.integrity_report["findings"]) == 5
    assert report.integrity_report["counts"]["not_json"] == 20


def test_a_line_without_end_is_read_past_and_not_into_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(readers, "LONGEST_LINE_BYTES", 1000)
    long = json.dumps({"text": "x" * 8_000_000})
    write_rows(tmp_path / "train.jsonl", [{"text": "a"}, long, {"text": "b"}])
    tracemalloc.start()
    report = doctor.check(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert codes(report) == {"too_long": 1}
    assert report.findings.kept[0].line == 2
    assert report.num_samples == 2
    assert peak < 2_000_000


def test_a_line_just_at_the_limit_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    line = json.dumps({"text": "x" * 50})
    monkeypatch.setattr(readers, "LONGEST_LINE_BYTES", len(line) + 1)
    write_rows(tmp_path / "train.jsonl", [line, line[:-2] + 'x"}', line.replace("xx", "yx", 1)])
    report = doctor.check(tmp_path)
    assert (report.num_samples, codes(report)) == (2, {"too_long": 1})


def test_column_names_are_made_fit_for_a_database(tmp_path: Path):
    write_rows(tmp_path / "train.jsonl", [{"text": "a", "b\x00\ud800": 1}])
    assert doctor.check(tmp_path).statistics["columns"] == ["b\ufffd?", "text"]
