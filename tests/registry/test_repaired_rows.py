"""What stands in a repaired copy: which rows, how they are mended, and which are held out."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.doctor import orders, repair
from registry.doctor.keeping import Repaired
from registry.files import BadPath
from tests.registry.conftest import pair
from tests.registry.files import write_rows
from tests.registry.test_doctor_texts import prose
from tests.registry.test_reader_fuzz import FUZZ, ROW

TURNS = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello."}]


def repaired(folder: Path, **options: Any) -> Repaired:
    told = {"target": str(folder / "copy"), **options}
    return repair.carry_out(orders.Order(path=str(folder), repair=told), lambda *read: None)


def written(folder: Path, split: str = "train") -> list[Any]:
    lines = (folder / "copy" / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_bad_rows_are_mended_or_left_out(tmp_path: Path):
    rows = [
        pair(1),
        {"prompt": "dÃ©jÃ\xa0 vu, cafÃ©", "completion": "a\x00b", "id": 7},
        {"prompt": 5, "completion": 6},
        {"prompt": "no answer"},
        {"prompt": "empty", "completion": " "},
        "nonsense",
        pair(1),
    ]
    write_rows(tmp_path / "train.jsonl", rows)
    made = repaired(tmp_path)
    assert written(tmp_path) == [
        pair(1),
        {"prompt": "déjà vu, café", "completion": "ab", "id": 7},
        {"prompt": "5", "completion": "6"},
    ]
    counts = {name: number for name, number in made["counts"].items() if number}
    assert counts == {
        "kept": 3,
        "mended": 1,
        "texts_changed": 1,
        "dropped_bad": 3,
        "dropped_duplicates": 1,
    }
    assert made["outcome"]["passed"]
    assert made["outcome"]["integrity_report"]["counts"] == {}


def test_what_is_asked_for_is_done(tmp_path: Path):
    near = prose(1).replace(prose(1).split()[30], "otherwise", 1)
    rows = [{"text": text} for text in (prose(1), near, prose(2), "to ana.b@mail.org " + prose(3))]
    write_rows(tmp_path / "train.jsonl", rows)
    write_rows(tmp_path / "test.jsonl", [{"text": prose(2)}])
    repaired(tmp_path, drop_near_duplicates=True, redact_personal=True)
    assert [row["text"] for row in written(tmp_path)] == [prose(1), "to <email> " + prose(3)]
    assert len(written(tmp_path, "test")) == 1


def test_what_is_not_asked_for_is_not_done(tmp_path: Path):
    rows = [{"text": "a\x00"}, {"text": "b"}, {"text": "b"}]
    write_rows(tmp_path / "train.jsonl", rows)
    write_rows(tmp_path / "test.jsonl", [{"text": "b"}])
    repaired(tmp_path, drop_duplicates=False, drop_leaked=False, mend_text=False)
    assert written(tmp_path) == rows


@pytest.mark.parametrize(
    ("row", "becomes"),
    [
        (
            {"conversations": TURNS},
            {
                "messages": [
                    {"role": "user", "content": "Hi"},
                    {"role": "assistant", "content": "Hello."},
                ]
            },
        ),
        (
            {"instruction": "Add.", "input": "1 + 1", "output": "2"},
            {"prompt": "Add.\n\n1 + 1", "completion": "2"},
        ),
        ({"question": "a", "answer": "b"}, {"prompt": "a", "completion": "b"}),
    ],
)
def test_rows_of_another_layout_are_written_as_ours(tmp_path: Path, row: Any, becomes: Any):
    write_rows(tmp_path / "train.jsonl", [row])
    assert repaired(tmp_path)["outcome"]["passed"]
    assert written(tmp_path) == [becomes]


def test_a_validation_split_takes_whole_groups_and_the_same_again(tmp_path: Path):
    """Rows with the same prompt, and those nearly the same, are on one side."""
    rows = []
    for n in range(60):
        rows += [
            {"prompt": f"question {n}", "completion": f"{n}.{k} {prose(n, 5)}"} for k in (1, 2)
        ]
        rows.append({"prompt": prose(100 + n), "completion": "x"})
        rows.append({"prompt": prose(100 + n) + " more", "completion": "x"})
    random.Random(1).shuffle(rows)
    write_rows(tmp_path / "train.jsonl", rows)
    made = repaired(tmp_path, validation_share=0.2)
    train, held_out = written(tmp_path), written(tmp_path, "validation")
    assert len(train) + len(held_out) == 240
    assert 20 <= len(held_out) <= 80
    assert made["counts"]["moved_to_validation"] == len(held_out)

    def topics(side: list[Any]) -> set[str]:
        return {row["prompt"].removesuffix(" more") for row in side}

    assert not topics(train) & topics(held_out)
    assert "leakage" not in made["outcome"]["integrity_report"]["counts"]
    assert "near_leakage" not in made["outcome"]["integrity_report"]["counts"]
    random.Random(2).shuffle(rows)  # the order of the rows does not matter, the seed does
    (again := tmp_path / "again").mkdir()
    write_rows(again / "train.jsonl", rows)
    repaired(again, validation_share=0.2)
    assert topics(written(again, "validation")) == topics(held_out)
    (other := tmp_path / "other").mkdir()
    write_rows(other / "train.jsonl", rows)
    repaired(other, validation_share=0.2, seed=1)
    assert topics(written(other, "validation")) != topics(held_out)


def test_rows_that_hang_together_by_one_between_them_are_on_one_side(tmp_path: Path):
    rows = []
    for n in range(60):
        words = prose(n, 150).split()
        rows += [{"text": " ".join(words[begin : begin + 125])} for begin in (0, 25, 12)]
    write_rows(tmp_path / "train.jsonl", rows)
    made = repaired(tmp_path, validation_share=0.3)
    assert made["counts"]["moved_to_validation"] > 20
    assert "near_leakage" not in made["outcome"]["integrity_report"]["counts"]


def test_rows_that_mending_makes_the_same_are_the_same(tmp_path: Path):
    """So none of them stays in train while its like is held out."""
    rows: list[Any] = []
    for n in range(30):
        rows += [{"prompt": str(n), "completion": "x"}, {"prompt": n, "completion": "x"}]
        rows += [
            {"prompt": f"{word} to {who}@mail.org about {n}", "completion": "x"}
            for who in ("ana.b", "bo.c")
            for word in ("write", "\x00write")
        ]
    write_rows(tmp_path / "train.jsonl", rows)
    options = {"redact_personal": True, "validation_share": 0.3}
    made = repaired(tmp_path, drop_duplicates=False, **options)
    counts, report = made["counts"], made["outcome"]["integrity_report"]["counts"]
    assert (counts["kept"], counts["mended"]) == (180, 30)
    assert counts["moved_to_validation"] > 20
    assert (report["duplicate"], report.get("leakage")) == (120, None)
    (other := tmp_path / "other").mkdir()
    write_rows(other / "train.jsonl", rows)
    made = repaired(other, **options)
    assert (made["counts"]["kept"], made["counts"]["dropped_duplicates"]) == (60, 120)
    assert "duplicate" not in made["outcome"]["integrity_report"]["counts"]


def test_a_row_that_mending_empties_is_left_out(tmp_path: Path):
    write_rows(tmp_path / "train.jsonl", [{"text": "\x00"}, {"text": "a\x00"}])
    made = repaired(tmp_path)
    assert written(tmp_path) == [{"text": "a"}]
    assert made["counts"]["dropped_bad"] == 1


@pytest.mark.parametrize("mends", [True, False])
def test_what_no_utf8_can_say_is_written_as_it_was(tmp_path: Path, mends: bool):
    half = {"prompt": "a", "completion": "b", "\ud800": 1}
    write_rows(tmp_path / "train.jsonl", [pair(1), half])
    repaired(tmp_path, mend_text=mends)
    assert written(tmp_path) == [pair(1), half]


@FUZZ
@given(
    lines=st.lists(ROW | st.builds(dict, text=st.text(max_size=3)), max_size=6),
    mends=st.booleans(),
    redacts=st.booleans(),
)
def test_rows_of_any_shape_never_break_a_copy(
    tmp_path: Path, lines: list[Any], mends: bool, redacts: bool
):
    """Nor does it ever leak."""
    write_rows(tmp_path / "train.jsonl", lines)
    shutil.rmtree(tmp_path / "copy", ignore_errors=True)
    options = {"mend_text": mends, "redact_personal": redacts, "validation_share": 0.5}
    with contextlib.suppress(BadPath):  # not one usable row would be left
        made = repaired(tmp_path, drop_duplicates=False, **options)
        counts = made["outcome"]["integrity_report"]["counts"]
        assert not counts.keys() & {"leakage", "near_leakage"}
        assert made["outcome"]["num_samples"] == made["counts"]["kept"]
