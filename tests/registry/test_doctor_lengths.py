"""The histogram of characters that the doctor leaves."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from registry import doctor
from registry.doctor.lengths import Lengths, place_of
from tests.registry.files import write_rows


def test_short_rows_are_counted_one_by_one_and_long_ones_together(tmp_path: Path):
    sizes = [3, 3, 7, 100, 103, 900]
    write_rows(tmp_path / "train.jsonl", [{"text": "x" * size} for size in sizes])
    found = doctor.check(tmp_path).statistics["lengths"]
    assert found == {"train": [[3, 2], [7, 1], [102, 2], [900, 1]]}


def test_each_split_has_its_own_and_unusable_rows_are_in_none(tmp_path: Path):
    write_rows(tmp_path / "train.jsonl", [{"text": "abc"}, {"text": 5}, "nonsense", {"text": "ab"}])
    write_rows(tmp_path / "test.jsonl", [{"text": "abcd"}])
    found = doctor.check(tmp_path).statistics
    assert found["lengths"] == {"train": [[2, 1], [3, 1]], "test": [[4, 1]]}
    assert found["rows"] == {"train": 2, "test": 1}


def test_a_pair_is_as_long_as_its_longer_answer(tmp_path: Path):
    row = {"prompt": "12", "chosen": "12345", "rejected": "123"}
    write_rows(tmp_path / "train.jsonl", [row])
    assert doctor.check(tmp_path).statistics["lengths"] == {"train": [[7, 1]]}


def test_images_have_no_characters(tmp_path: Path):
    assert doctor.check_images(tmp_path).statistics["lengths"] == {}


def test_it_does_not_grow_with_the_rows_and_loses_none_of_them():
    lengths, drawn = Lengths(), random.Random(3)
    sizes = [int(drawn.lognormvariate(7, 2)) + 1 for _ in range(20_000)]
    for size in [*sizes, 16 * 2**20]:
        lengths.add(size)
    listed = lengths.as_list()
    assert len(listed) < 200
    assert len(json.dumps(listed)) < 3000
    assert sum(rows for _, rows in listed) == 20_001
    told = sum(characters * rows for characters, rows in listed)
    assert told == pytest.approx(sum(sizes) + 16 * 2**20, rel=0.001)
    assert [characters for characters, _ in listed] == sorted({c for c, _ in listed})


def test_longer_rows_never_come_to_an_earlier_place():
    places = [place_of(characters) for characters in range(1, 5000)]
    assert places == sorted(places)
