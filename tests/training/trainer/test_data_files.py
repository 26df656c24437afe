"""Rows come out of every kind of file alike, under our names, and a bad one is named."""

from __future__ import annotations

import csv
import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import feather, parquet

from tests.training.trainer import runs, tiny
from training.trainer import events
from training.trainer.data import files as files_module
from training.trainer.data.files import RowFiles, read_records
from training.trainer.data.read import Source, read_sources
from training.trainer.failures import BadData

ROWS = [
    {"prompt": "a, b", "completion": 'say "x"\nand go'},
    {"prompt": "ä", "completion": "007"},
    {"prompt": "", "completion": "y"},
]
Row = dict[str, Any]


def as_json(path: Path, rows: list[Row]) -> Path:
    path.write_text(json.dumps(rows, indent=1, ensure_ascii=False), encoding="utf-8")
    return path


def as_csv(path: Path, rows: list[Row]) -> Path:
    with open(path, "w", newline="", encoding="utf-8-sig") as file:
        table = csv.DictWriter(file, rows[0].keys())
        table.writeheader()
        table.writerows(rows)
    return path


def as_parquet(path: Path, rows: list[Row]) -> Path:
    parquet.write_table(pa.Table.from_pylist(rows), path)
    return path


def as_tsv(path: Path, rows: list[Row]) -> Path:
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, rows[0].keys(), delimiter="\t")
        table.writeheader()
        table.writerows(rows)
    return path


def as_arrow(path: Path, rows: list[Row]) -> Path:
    feather.write_feather(pa.Table.from_pylist(rows), path)
    return path


def as_gzip(path: Path, rows: list[Row]) -> Path:
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    return path


WRITERS = {
    "jsonl": tiny.write_rows,
    "ndjson": tiny.write_rows,
    "json": as_json,
    "csv": as_csv,
    "parquet": as_parquet,
    "tsv": as_tsv,
    "arrow": as_arrow,
    "feather": as_arrow,
    "jsonl.gz": as_gzip,
}


def read(path: Path, **columns: str) -> list[Source]:
    return list(read_sources(RowFiles((str(path),), columns)))


def complaint(path: Path, **columns: str) -> str:
    with pytest.raises(BadData) as caught:
        read(path, **columns)
    return str(caught.value)


@pytest.mark.parametrize("suffix", WRITERS)
def test_the_same_rows_come_out_of_every_kind_of_file(tmp_path: Path, suffix: str) -> None:
    path = WRITERS[suffix](tmp_path / f"rows.{suffix.upper()}", ROWS)
    sources = read(path)
    assert [source.fields for source in sources] == ROWS
    assert {source.kind for source in sources} == {"prompt_completion"}


def test_where_a_row_stands(tmp_path: Path) -> None:
    found = {
        suffix: [source.where for source in read(write(tmp_path / f"rows.{suffix}", ROWS))]
        for suffix, write in WRITERS.items()
    }
    lines = [f"rows.jsonl, line {number}" for number in (1, 2, 3)]
    assert found["jsonl"] == lines
    assert found["json"] == [f"rows.json, row {number}" for number in (1, 2, 3)]
    assert found["parquet"] == [f"rows.parquet, row {number}" for number in (1, 2, 3)]
    # The first row has a line break in it, and the names of the columns come before it.
    assert found["csv"] == ["rows.csv, line 2", "rows.csv, line 4", "rows.csv, line 5"]


def test_json_may_be_objects_on_lines(tmp_path: Path) -> None:
    path = tiny.write_rows(tmp_path / "rows.json", ROWS)
    assert [source.fields for source in read(path)] == ROWS


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("r.exe", b"x", "r.exe: rows are read from .jsonl, .ndjson, .json, .csv, .tsv"),
        ("r.json", b"", "r.json: an array of objects is expected"),
        ("r.json", b"3", "r.json: an array of objects is expected"),
        ("r.json", b'[{"text": "x"}', "r.json, row 2: not JSON (',' is expected, not '')"),
        ("r.json", b'[{"text": "x"} {"text": "y"}]', "r.json, row 2: not JSON (',' is expected"),
        ("r.json", b'[{"text": "x"}, {"text]', "r.json, row 2: not JSON (Unterminated string"),
        ("r.json", b'[{"text": "x"}, 5]', "r.json, row 2: a JSON object is expected, not int"),
        ("r.json", b'[{"text": "x"}, {"text": "\xff"}]', "r.json, row 2: not UTF-8"),
        ("r.csv", b"a,a\n1,2\n", "r.csv, line 1: two columns have the same name"),
        ("r.csv", b"text\nx\ny,z\n", "r.csv, line 3: 2 cells, but the first line has 1"),
        ("r.csv", b'text\n"x\n', "r.csv, line 2: not CSV (unexpected end of data)"),
        ("r.csv", b"text\nx\n\xff\n", "r.csv, line 3: not UTF-8"),
        ("r.csv", b"a,b\n1,2\n", "r.csv, line 2: needs the fields prompt and completion"),
        ("r.parquet", b"PAR1", "r.parquet, after row 0: not Parquet"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert complaint(path).startswith(says)


@given(
    st.lists(st.dictionaries(st.text(max_size=5), st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=40),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
        max_leaves=5,
    ))),
    st.integers(1, 9),
)  # fmt: skip
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_json_is_read_wherever_its_blocks_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: list[Row], block: int
) -> None:
    monkeypatch.setattr(files_module, "BLOCK", block)
    path = as_json(tmp_path / "rows.json", rows)
    assert [record.fields for record in read_records(path)] == rows


def test_memory_stays_small_however_large_the_file(tmp_path: Path) -> None:
    """Each file would be several hundred megabytes as objects."""
    rows = [{"text": f"{number} " + "word " * 400} for number in range(30_000)]
    paths = [
        as_json(tmp_path / "rows.json", rows),
        as_csv(tmp_path / "rows.csv", rows),
        as_parquet(tmp_path / "rows.parquet", rows),
        tiny.write_rows(tmp_path / "rows.jsonl", rows),
    ]
    script = (
        "import sys, resource, pyarrow.parquet\n"
        "from training.trainer.data.files import RowFiles\n"
        "from training.trainer.data.read import read_sources\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "count = sum(1 for _ in read_sources(RowFiles((sys.argv[1],))))\n"
        "print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    for path in paths:
        done = subprocess.run(
            [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
        )
        count, grown_kb = map(int, done.stdout.split())
        assert count == len(rows)
        assert grown_kb < 30_000, path.name


def test_a_column_may_have_another_name(tmp_path: Path) -> None:
    rows = [{"question": "x", "answer": "y", "text": "z"}]
    (source,) = read(tiny.write_rows(tmp_path / "r.jsonl", rows), prompt="question",
                     completion="answer")  # fmt: skip
    assert (source.kind, source.fields) == (
        "prompt_completion",
        {"prompt": "x", "completion": "y", "text": "z"},
    )


def test_two_columns_may_change_names(tmp_path: Path) -> None:
    path = tiny.write_rows(tmp_path / "r.jsonl", [{"prompt": "x", "completion": "y"}])
    (source,) = read(path, prompt="completion", completion="prompt")
    assert source.fields == {"prompt": "y", "completion": "x"}


def test_a_column_that_does_not_exist_is_told_with_those_that_do(tmp_path: Path) -> None:
    path = tiny.write_rows(tmp_path / "r.jsonl", [{"frage": "x", "antwort": "y"}])
    assert complaint(path, prompt="question", completion="antwort") == (
        "r.jsonl, line 1: there is no column question to take as prompt. "
        "The columns: antwort, frage."
    )


TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
MESSAGES = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_messages_and_tools_may_be_json_in_text(tmp_path: Path, suffix: str) -> None:
    row = {"messages": json.dumps(MESSAGES), "tools": json.dumps([TOOL])}
    (source,) = read(WRITERS[suffix](tmp_path / f"r.{suffix}", [row]))
    assert source.kind == "messages"
    assert source.fields == {"messages": MESSAGES, "tools": [TOOL]}


def test_text_that_is_no_json_and_tools_that_are_no_list_are_named(tmp_path: Path) -> None:
    for row, says in (
        ({"messages": "hello"}, "r.jsonl, line 1: messages is text, but not JSON"),
        ({"messages": MESSAGES, "tools": {"a": 1}}, "r.jsonl, line 1: tools must be a list"),
    ):
        assert complaint(tiny.write_rows(tmp_path / "r.jsonl", [row])).startswith(says)


def test_a_row_without_tools_may_stand_beside_one_with(tmp_path: Path) -> None:
    path = tiny.write_rows(
        tmp_path / "r.jsonl", [{"messages": MESSAGES}, {"messages": MESSAGES, "functions": [TOOL]}]
    )
    assert [source.fields.get("tools") for source in read(path, tools="functions")] == [
        None,
        [TOOL],
    ]


def test_parquet_leaves_out_the_fields_that_a_message_has_not(tmp_path: Path) -> None:
    called = {"role": "assistant", "tool_calls": [{"name": "add"}]}
    rows = [{"messages": [MESSAGES[0], called]}]
    (source,) = read(as_parquet(tmp_path / "r.parquet", rows))
    assert source.fields == rows[0]


TABLES = ("csv", "tsv")
KINDS: dict[str, Row] = {
    "prompt_completion": {"prompt": "x", "completion": "y"},
    "conversation": {"prompt": MESSAGES[:1], "completion": MESSAGES[1:]},
    "messages": {"messages": MESSAGES},
    "text": {"text": "x"},
    "labelled": {"text": "x", "label": 1},
    "labelled_image": {"image": "a.png", "label": "cat"},
    "preference": {"prompt": "x", "chosen": "y", "rejected": "z"},
    "unpaired_preference": {"prompt": "x", "completion": "y", "label": True},
}


@pytest.mark.parametrize(
    ("kind", "suffix"),
    # In a table a list of messages cannot be told from text, but in the column messages.
    [(k, s) for k in KINDS for s in WRITERS if k != "conversation" or s not in TABLES],
)
def test_the_kind_of_a_row_is_recognized(tmp_path: Path, kind: str, suffix: str) -> None:
    row = KINDS[kind]
    if suffix in TABLES:
        row = {k: json.dumps(v) if k == "messages" else v for k, v in row.items()}
    (source,) = read(WRITERS[suffix](tmp_path / f"r.{suffix}", [row]))
    assert (source.kind, source.fields) == (kind, KINDS[kind])


def test_it_is_told_how_far_the_reading_is(tmp_path: Path) -> None:
    rows = [{"text": "x" * 50}] * 2000
    paths = [WRITERS[suffix](tmp_path / f"r.{suffix}", rows) for suffix in WRITERS]
    told: list[tuple[int, int]] = []
    files = RowFiles(tuple(map(str, paths)), progress=lambda *seen: told.append(seen))
    total = 2000 * len(WRITERS)
    assert len(list(read_sources(files))) == total
    assert [rows for rows, _ in told] == list(range(500, total + 1, 500))
    assert [read_bytes for _, read_bytes in told] == sorted(read_bytes for _, read_bytes in told)
    assert told[-1][1] == files.size_bytes


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("r.jsonl.gz", b"x", "r.jsonl.gz: cannot be unpacked (Not a gzipped file"),
        ("r.jsonl.gz", gzip.compress(b"{}" * 99)[:-9], "r.jsonl.gz: cannot be unpacked (Comp"),
        ("r.parquet.gz", b"x", "r.parquet.gz: rows are read from"),
        ("r.arrow", b"ARROW1", "r.arrow, after row 0: not Arrow"),
    ],
)
def test_what_cannot_be_unpacked_is_named(
    tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    (tmp_path / name).write_bytes(content)
    assert complaint(tmp_path / name).startswith(says)


@pytest.mark.slow
def test_a_run_trains_on_files_of_all_kinds(make_run: Callable[..., Path], tmp_path: Path) -> None:
    sums = tiny.sums()
    names = ("jsonl.gz", "arrow", "tsv", "parquet")
    paths = [WRITERS[end](tmp_path / f"{n}.{end}", sums[n::4]) for n, end in enumerate(names)]
    held_out = as_csv(tmp_path / "validation.csv", sums[:8])
    run_dir = make_run(
        "kinds",
        dataset={"train": [str(path) for path in paths], "validation": [str(held_out)]},
        train={"max_steps": 2},
    )
    assert runs.finish(run_dir) == 0, (run_dir / "log.txt").read_text()
    [data] = [line for line in runs.said(run_dir) if line["event"] == events.DATA]
    assert (data["train_rows"], data["eval_rows"]) == (100, 8)
