"""What is wrong inside texts, and which rows are like others."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from registry import doctor
from registry.doctor import Level, likeness, mend, twins
from registry.doctor.texts import redacted, troubles
from tests.registry.files import write_rows

WORDS = [f"{a}{b}" for a in ("ba", "ka", "lo", "mi", "nu", "pe") for b in ("rin", "tol", "men")]


def prose(seed: int, words: int = 60) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=words))


@pytest.mark.parametrize(
    ("text", "code", "becomes"),
    [
        ("plain", "", "plain"),
        ("déjà vu, 日本, naïve", "", "déjà vu, 日本, naïve"),
        ("a\x00b", "nul", "a\x00b"),
        ("lost \ufffd here", "replacement_character", "lost \ufffd here"),
        ("a \ufeffb", "bom", "a \ufeffb"),
        ("dÃ©jÃ vu, cafÃ©", "mojibake", "dÃ©jÃ vu, cafÃ©"),
        ("write to ana.b@mail.org now", "email_address", "write to <email> now"),
        ("write to ana@example.com now", "", "write to ana@example.com now"),
        ("key sk-" + "a1B2" * 8, "secret", "key <secret>"),
        ("AKIAABCDEFGHIJKLMNOP", "secret", "<secret>"),
        ("-----BEGIN RSA PRIVATE KEY-----", "secret", "<secret>"),
        ("card 4111 1111 1111 1111.", "card_number", "card <card>."),
        ("number 4111 1111 1111 1112.", "", "number 4111 1111 1111 1112."),
        ("in 2024, 1234567890123456 times", "", "in 2024, 1234567890123456 times"),
    ],
)
def test_a_text_is_looked_into(text: str, code: str, becomes: str):
    assert [trouble.code for trouble in troubles(text)] == ([code] if code else [])
    assert redacted(text) == becomes
    for trouble in troubles(text):
        assert "4111" not in trouble.message
        assert "ana.b" not in trouble.message


@pytest.mark.parametrize(
    ("text", "mended"),
    [("a\x00b\ufeff", "ab"), ("dÃ©jÃ\xa0 vu, cafÃ©", "déjà vu, café"), ("naïve", "naïve")],
)
def test_a_text_is_mended(text: str, mended: str):
    assert mend.text(text) == mended


def test_troubles_are_warnings_with_their_field(tmp_path: Path):
    write_rows(tmp_path / "train.jsonl", [{"prompt": "who?", "completion": "ana.b@mail.org"}])
    report = doctor.check(tmp_path)
    [found] = report.findings.kept
    assert (found.code, found.field, found.line) == ("email_address", "completion", 1)
    assert (found.level, report.passed) == (Level.WARNING, True)


def test_one_kind_of_warning_does_not_push_errors_out(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("registry.doctor.findings.MOST_KEPT", 8)
    rows = [*({"text": f"a{n}@mail.org"} for n in range(20)), "nonsense"]
    write_rows(tmp_path / "train.jsonl", rows)
    report = doctor.check(tmp_path)
    kept = [one["code"] for one in report.integrity_report["findings"]]
    assert kept == ["not_json", "email_address", "email_address"]
    assert report.integrity_report["counts"] == {"email_address": 20, "not_json": 1}


# --- Likeness ------------------------------------------------------------------------------------


def test_duplicates_are_told_with_where_the_first_one_stands(tmp_path: Path):
    near = prose(1).replace(prose(1).split()[30], "otherwise", 1)
    rows = [{"text": text} for text in (prose(1), prose(2), prose(1), near, prose(3))]
    write_rows(tmp_path / "train.jsonl", rows)
    write_rows(tmp_path / "test.jsonl", [{"text": prose(3)}])
    report = doctor.check(tmp_path)
    told = {(one.code, one.file, one.line, one.message) for one in report.findings.kept}
    assert told == {
        ("duplicate", "train.jsonl", 3, "The same row is in line 1 of train.jsonl."),
        ("near_duplicate", "train.jsonl", 4, "Nearly the same row is in line 1 of train.jsonl."),
        ("leakage", "train.jsonl", 5, "The same row is in the test split (line 1 of test.jsonl)."),
    }
    duplicates = {
        "compared": 6,
        "compared_nearly": 6,
        "duplicate": 1,
        "near_duplicate": 1,
        "leakage": 1,
    }
    assert report.statistics["duplicates"] == duplicates
    assert report.passed


def test_short_rows_of_one_pattern_are_not_alike():
    texts = [f"What is {n} times {n + 1}? It is {n * (n + 1)}." for n in range(100)]
    sketches = likeness.sketches_of(texts)
    assert np.array_equal(likeness.alike(sketches).near, np.arange(100))


def test_a_row_nearly_the_same_in_a_split_that_is_held_out_is_told(tmp_path: Path):
    near = prose(1).replace(prose(1).split()[30], "otherwise", 1)
    write_rows(tmp_path / "train.jsonl", [{"text": near}, {"text": prose(2)}])
    write_rows(tmp_path / "validation.jsonl", [{"text": prose(3)}, {"text": prose(1)}])
    report = doctor.check(tmp_path)
    (found,) = report.findings.kept
    assert (found.code, found.level) == ("near_leakage", Level.WARNING)
    assert (found.file, found.line) == ("train.jsonl", 1)
    assert found.message == (
        "Nearly the same row is in the validation split (line 2 of validation.jsonl)."
    )
    assert report.statistics["duplicates"]["near_leakage"] == 1
    assert report.passed


@pytest.mark.parametrize(("characters", "is_told"), [(100_000, False), (100_001, True)])
def test_a_row_that_most_models_cut_is_told(tmp_path: Path, characters: int, is_told: bool):
    write_rows(tmp_path / "train.jsonl", [{"text": "short"}, {"text": "x" * characters}])
    report = doctor.check(tmp_path)
    told = [(found.code, found.line, found.message) for found in report.findings.kept]
    said = f"The row has {characters:,} characters; most models cut it."
    assert told == ([("very_long", 2, said)] if is_told else [])
    assert (report.passed, report.max_characters) == (True, characters)


@pytest.mark.parametrize(("changed", "finds"), [(2, True), (30, False)])
def test_how_alike_is_nearly_the_same(changed: int, finds: bool):
    """Of 300 words each changed one spoils three shingles of 298."""
    text = prose(5, 300).split()
    other = [word if n % (300 // changed) else "else" for n, word in enumerate(text)]
    sketches = likeness.sketches_of([prose(6, 300), " ".join(text), " ".join(other)])
    assert likeness.alike(sketches).near.tolist() == [0, 1, 1 if finds else 2]


def test_text_without_spaces_is_compared_by_its_letters():
    text = "".join(chr(0x4E00 + random.Random(7).randrange(3000)) for _ in range(1)) + "".join(
        chr(0x4E00 + n * 37 % 3000) for n in range(200)
    )
    sketches = likeness.sketches_of([text, text[:150] + "变" + text[151:]])
    assert likeness.alike(sketches).near.tolist() == [0, 0]


def test_rows_hang_together_by_one_between_them():
    """Two that are too different, and one that is nearly the same as both."""
    text = prose(8, 300).split()
    parts = [" ".join(text[begin : begin + 250]) for begin in (0, 50, 25)]
    found = likeness.alike(likeness.sketches_of([*parts, prose(9, 250), parts[2]]))
    assert found.near.tolist() == [0, 1, 0, 3, 0]
    assert found.first.tolist() == [0, 0, 0, 3, 0]


def test_the_first_of_the_same_is_found_and_groups_hang_together():
    keys = np.array([5, 7, 5, 9, 7, 5], np.uint64)
    same = twins.first_alike(keys)
    assert same.tolist() == [0, 1, 0, 3, 1, 0]
    heads = np.array([0, 1, 3])
    alike = twins.Alike(near=np.array([0, 1, 1]), first=np.array([0, 1, 1]))
    found = twins.twins_of(same, heads, alike, 6)
    assert (found.near.tolist(), found.groups.tolist()) == ([0, 1, 2, 1, 4, 5], [0, 1, 0, 1, 1, 0])


def test_what_is_not_remembered_is_not_compared_and_that_is_said(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(likeness, "MOST_COMPARED", 3)
    write_rows(tmp_path / "train.jsonl", [{"text": str(n % 4)} for n in range(8)])
    report = doctor.check(tmp_path)
    assert (report.num_samples, report.duplicates["compared"]) == (8, 3)
    assert report.findings.counts == {"not_all_compared": 1}
    assert "the first 3 of 8 rows only" in report.findings.kept[0].message


def test_nor_is_it_a_secret_that_near_duplicates_were_looked_for_among_fewer(
    tmp_path: Path, monkeypatch
):
    monkeypatch.setattr(likeness, "MOST_SKETCHED", 2)
    write_rows(tmp_path / "test.jsonl", [{"text": f"held out {n}"} for n in range(3)])
    write_rows(tmp_path / "train.jsonl", [{"text": f"row {n}"} for n in range(5)])
    report = doctor.check(tmp_path)
    assert report.statistics["duplicates"] == {"compared": 8, "compared_nearly": 3}
    [told] = report.findings.kept
    assert (told.code, told.message) == (
        "not_all_compared",
        "Near duplicates were looked for among the first 3 of 8 rows only "
        "(those held out come first).",
    )


# --- Labels and languages ------------------------------------------------------------------------


def test_labels_are_counted_and_a_rare_one_is_told(tmp_path: Path):
    rows = [{"text": f"row {n}", "label": "rare" if n == 7 else "usual"} for n in range(300)]
    write_rows(tmp_path / "train.jsonl", rows)
    report = doctor.check(tmp_path)
    assert report.statistics["labels"] == {"usual": 299, "rare": 1}
    assert report.findings.counts == {"unbalanced_labels": 1}


def test_languages_are_guessed_from_enough_rows(tmp_path: Path):
    german = "Das Wetter ist heute schön, und es hat die ganze Woche nicht mehr geregnet"
    write_rows(tmp_path / "train.jsonl", [{"text": f"{german}, Zeile {n}."} for n in range(30)])
    assert doctor.check(tmp_path).statistics["languages"] == {"de": 1.0}
