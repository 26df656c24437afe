"""Every kind of file that the doctor lets in, and that the trainer reads the same rows in it."""

from __future__ import annotations

import bz2
import csv
import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from datasets import Dataset as HubDataset
from pyarrow import feather, parquet

from registry import doctor
from registry.doctor.layouts import Layout
from registry.doctor.readers import batches
from tests.registry.files import write_rows
from training.trainer.data.files import RowFiles
from training.trainer.data.read import read_sources

ROWS: list[dict[str, Any]] = [
    {"prompt": "a, b", "completion": 'say "x"\nand go'},
    {"prompt": "ä ö", "completion": "007"},
    {"prompt": "日本", "completion": "y; z\tw"},
]


def as_json(path: Path, rows: Any) -> None:
    path.write_text(json.dumps(rows, indent=1, ensure_ascii=False), encoding="utf-8")


def as_table(separator: str) -> Callable[[Path, Any], None]:
    def write(path: Path, rows: Any) -> None:
        with open(path, "w", newline="", encoding="utf-8-sig") as file:
            table = csv.DictWriter(file, rows[0].keys(), delimiter=separator)
            table.writeheader()
            table.writerows(rows)

    return write


def as_stream(path: Path, rows: Any) -> None:
    table = pa.Table.from_pylist(rows)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table)


def packed(write: Callable[[bytes], bytes]) -> Callable[[Path, Any], None]:
    def pack(path: Path, rows: Any) -> None:
        path.write_bytes(write(lines(rows)))

    return pack


def lines(rows: Any) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def with_duckdb(path: Path, rows: Any) -> None:
    table = pa.Table.from_pylist(rows)
    connection = duckdb.connect()
    connection.register("source", table)
    how = {".parquet": "FORMAT parquet", ".csv": "FORMAT csv, HEADER", ".jsonl": "FORMAT json"}
    connection.execute(f"COPY (SELECT * FROM source) TO '{path}' ({how[path.suffix]})")


WRITERS: dict[str, Callable[[Path, Any], Any]] = {
    "train.jsonl": write_rows,
    "train.ndjson": write_rows,
    "train.json": as_json,
    "lines/train.json": write_rows,
    "train.csv": as_table(","),
    "semicolons/train.csv": as_table(";"),
    "train.tsv": as_table("\t"),
    "train.parquet": lambda path, rows: parquet.write_table(pa.Table.from_pylist(rows), path),
    "train.arrow": as_stream,
    "train.feather": lambda path, rows: feather.write_feather(pa.Table.from_pylist(rows), path),
    "train.jsonl.gz": packed(gzip.compress),
    "train.jsonl.bz2": packed(bz2.compress),
    "train.jsonl.xz": packed(lzma.compress),
    "train.jsonl.zst": packed(lambda data: pa.Codec("zstd").compress(data, asbytes=True)),
    "pandas/train.jsonl": lambda path, rows: pd.DataFrame(rows).to_json(
        path, orient="records", lines=True
    ),
    "pandas/train.json": lambda path, rows: pd.DataFrame(rows).to_json(path, orient="records"),
    "pandas/train.csv": lambda path, rows: pd.DataFrame(rows).to_csv(path, index=False),
    "index/train.csv": lambda path, rows: pd.DataFrame(rows).to_csv(path),
    "pandas/train.parquet": lambda path, rows: pd.DataFrame(rows).to_parquet(path),
    "pandas/train.feather": lambda path, rows: pd.DataFrame(rows).to_feather(path),
    "pandas/train.csv.gz": lambda path, rows: pd.DataFrame(rows).to_csv(path, index=False),
    "polars/train.ndjson": lambda path, rows: pl.DataFrame(rows).write_ndjson(path),
    "polars/train.json": lambda path, rows: pl.DataFrame(rows).write_json(path),
    "polars/train.csv": lambda path, rows: pl.DataFrame(rows).write_csv(path),
    "polars/train.parquet": lambda path, rows: pl.DataFrame(rows).write_parquet(path),
    "polars/train.arrow": lambda path, rows: pl.DataFrame(rows).write_ipc(path, compression="zstd"),
    "datasets/train.jsonl": lambda path, rows: HubDataset.from_list(rows).to_json(path),
    "datasets/train.csv": lambda path, rows: HubDataset.from_list(rows).to_csv(path, index=False),
    "datasets/train.parquet": lambda path, rows: HubDataset.from_list(rows).to_parquet(path),
    "saved/train/data.arrow": lambda path, rows: HubDataset.from_list(rows).save_to_disk(
        path.parent
    ),
    "duckdb/train.jsonl": with_duckdb,
    "duckdb/train.csv": with_duckdb,
    "duckdb/train.parquet": with_duckdb,
}


@pytest.mark.parametrize("name", WRITERS)
def test_the_doctor_and_the_trainer_read_what_was_written(name: str, tmp_path: Path):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    WRITERS[name](path, ROWS)
    report = doctor.check(tmp_path)
    assert (report.passed, report.num_samples, dict(report.findings.counts)) == (True, 3, {})
    files = doctor.split_files(tmp_path)["train"]
    read = [source.fields for source in read_sources(RowFiles(tuple(map(str, files))))]
    ours = [one.row for file in files for batch in batches(file) for one in batch.read()]
    assert read == [Layout().row(row) for row in ours]
    assert [{key: row[key] for key in ROWS[0]} for row in read] == ROWS


TEXTS = {
    "paragraphs": ("one\ntwo\n\n \nthree\r\n\r\nfour", ["one\ntwo", "three", "four"]),
    "lines": ("one\ntwo\r\nthree", ["one", "two", "three"]),
}


@pytest.mark.parametrize("kind", TEXTS)
def test_plain_text_is_read_by_paragraphs_or_by_lines(kind: str, tmp_path: Path):
    text, rows = TEXTS[kind]
    path = tmp_path / "book.txt"
    path.write_bytes(text.encode())
    report = doctor.check(path)
    assert (report.row_format, report.num_samples, report.passed) == ("text", len(rows), True)
    assert [source.fields["text"] for source in read_sources(RowFiles((str(path),)))] == rows


def test_what_others_write_beside_the_rows_is_not_read(tmp_path: Path):
    write_rows(tmp_path / "train.jsonl", ROWS)
    for name in ("dataset_info.json", "state.json", "README.txt", "LICENSE.txt", "notes.md"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "words.txt").write_text("only where there is nothing else")
    assert doctor.split_files(tmp_path) == {"train": [tmp_path / "train.jsonl"]}
