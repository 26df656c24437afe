"""Pairs and labelled texts are kept on disk as rows are, and are the same again."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.training.trainer import styles, tiny
from tests.training.trainer.test_data_cache import Refusing, set_train
from training.trainer.data import labelled, load, preferences
from training.trainer.data.examples import lengths_of
from training.trainer.data.files import RowFiles
from training.trainer.data.preferences import Pair
from training.trainer.spec import RunSpec


@pytest.fixture
def spec(tmp_path: Path, base_model: Path, monkeypatch: pytest.MonkeyPatch) -> RunSpec:
    monkeypatch.setattr(load, "KEEP_FROM_BYTES", 0)
    return RunSpec.from_dict(
        {
            "run_id": "r",
            "name": "r",
            "method": "full",
            "base_model": {"path": str(base_model)},
            "dataset": {"train": ["train.jsonl"]},
            "export_dir": "/nowhere",
            "train": {"max_length": 100},
            "cache_dir": str(tmp_path / "tokens"),
        }
    )


def files_of(tmp_path: Path, rows: list[dict[str, Any]]) -> RowFiles:
    return RowFiles((str(tiny.write_rows(tmp_path / "rows.jsonl", rows)),))


def as_told(pairs: Sequence[Pair]) -> list[Any]:
    return [(p.first.ids.tolist(), p.second.ids.tolist(), p.desirable) for p in pairs]


@pytest.mark.parametrize("method", ["dpo", "kto"])
def test_pairs_are_kept_like_rows(
    method: str, tmp_path: Path, tokenizer: Any, spec: RunSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_them = preferences.load_pairs if method == "dpo" else preferences.load_judged
    files = files_of(tmp_path, styles.preferences() if method == "dpo" else styles.judged())
    spec = dataclasses.replace(spec, method=method)
    monkeypatch.setattr(load, "ROWS_AT_ONCE", 7)
    in_memory = load_them(files, tokenizer, dataclasses.replace(spec, cache_dir="")).rows
    on_disk = load_them(files, tokenizer, spec).rows
    again = load_them(files, Refusing(), spec).rows
    assert len(in_memory) == 100
    assert as_told(on_disk) == as_told(again) == as_told(in_memory)
    assert [pair.length for pair in on_disk] == lengths_of(on_disk).tolist()
    monkeypatch.setattr(load, "ROWS_AT_ONCE", 1000)
    at_once = load_them(files, tokenizer, dataclasses.replace(spec, cache_dir="")).rows
    assert as_told(at_once) == as_told(in_memory)
    on_disk[3].reference[:] = (-1, -2)
    assert on_disk[3].reference.tolist() == [-1, -2]


def test_labelled_rows_are_kept_with_their_labels(
    tmp_path: Path, tokenizer: Any, spec: RunSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of which each process sees only some, in an order of its own."""
    rows = [{"text": f"{i} plus", "label": f"from {i // 3}"} for i in range(60)]
    rows[6]["text"] = ""
    files = files_of(tmp_path, [*rows, *rows[::-1]])
    spec = dataclasses.replace(spec, method="text_classification")
    monkeypatch.setattr(load, "ROWS_AT_ONCE", 5)
    monkeypatch.setattr(load, "SHARE_FROM_BYTES", 0)
    kept_rows = labelled.load_texts(files, tokenizer, set_train(spec, dataset_num_proc=2))
    again = labelled.load_texts(files, Refusing(), spec)
    assert [label for label, _ in again.tally.labels] == [f"from {i}" for i in range(20)]
    assert again.tally.labels[2][1] == "rows.jsonl, line 7"
    ids = {f"from {i}": 100 - i for i in range(20)}
    expected = [(f"{i} plus", 100 - i // 3) for i in range(60) if i != 6]
    for found in (kept_rows, again):
        texts = labelled.numbered(found, ids)
        told = [(tokenizer.decode(text.ids), text.label) for text in texts.rows]
        assert told == [*expected, *expected[::-1]]
        assert (texts.truncated, texts.dropped) == (0, 2)
