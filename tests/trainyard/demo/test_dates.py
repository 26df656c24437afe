"""The dates the demo learns from: every row is right, and no date is on both sides."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from datetime import date
from pathlib import Path

import pytest

from trainyard.demo import dates, rows

SHORT_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec"
MONTH_NUMBERS = {name: index for index, name in enumerate(SHORT_MONTHS.split(), start=1)}


def understood(prompt: str) -> date:
    """What a person reads in a prompt, by another way than it was written."""
    written = prompt.removeprefix("Write ").removesuffix(" in ISO 8601:")
    numbers = [int(number) for number in re.findall(r"\d+", written)]
    words = [word[:3].lower() for word in re.findall(r"[A-Za-z]+", written)]
    months = [MONTH_NUMBERS[word] for word in words if word in MONTH_NUMBERS]
    [year] = [number for number in numbers if number >= 1000]
    numbers.remove(year)
    day, month = (numbers[0], months[0]) if months else numbers
    return date(year, month, day)


@pytest.fixture(scope="module")
def made() -> tuple[list[rows.Row], list[rows.Row]]:
    return dates.splits()


def test_every_completion_is_the_date_that_the_prompt_says(made):
    for row in [*made[0], *made[1]]:
        assert row["completion"] == understood(row["prompt"]).isoformat(), row


def test_weekdays_are_those_of_the_date(made):
    named = [row for row in made[0] if row["prompt"].startswith("Write Sunday")]
    assert named
    assert all(date.fromisoformat(row["completion"]).weekday() == 6 for row in named)


def test_no_date_is_in_both_splits_in_any_spelling(made):
    train, validation = ({understood(row["prompt"]) for row in split} for split in made)
    assert not train & validation


def test_the_splits_have_their_sizes_and_no_date_twice(made):
    train, validation = made
    assert (len(train), len(validation)) == (dates.TRAIN_ROWS, dates.VALIDATION_ROWS)
    assert max(Counter(row["completion"] for row in [*train, *validation]).values()) == 1


def test_every_spelling_is_learned_and_asked(made):
    for split in made:
        missing = list(dates.SPELLINGS)
        for row in split:
            day = date.fromisoformat(row["completion"])
            missing = [spell for spell in missing if dates.prompt(spell(day)) != row["prompt"]]
        assert missing == []


def test_the_same_seed_makes_the_same_rows_and_another_seed_others(made):
    assert dates.splits() == made
    assert dates.splits(seed=1) != made


@pytest.mark.parametrize(
    ("number", "written"),
    [
        *((1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (12, "12th")),
        *((13, "13th"), (21, "21st"), (22, "22nd"), (23, "23rd"), (30, "30th"), (31, "31st")),
    ],
)
def test_ordinals_are_written_as_people_write_them(number, written):
    assert dates.ordinal(number) == written


def test_more_rows_than_days_are_refused():
    with pytest.raises(ValueError):
        dates.splits(train_rows=40_000)


def test_the_folder_holds_both_splits_and_nothing_else(tmp_path: Path, made):
    dates.write(tmp_path / "dates")
    assert {path.name for path in (tmp_path / "dates").iterdir()} == {
        "train.jsonl",
        "validation.jsonl",
    }
    assert rows.read(tmp_path / "dates" / "train.jsonl") == made[0]
    assert rows.read(tmp_path / "dates" / "validation.jsonl") == made[1]
    assert [path.name for path in tmp_path.iterdir()] == ["dates"]


def test_what_is_cut_off_leaves_no_folder_behind(tmp_path: Path):
    def break_off(half: Path) -> None:
        (half / "train.jsonl").write_text("half a li")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rows.make_whole(tmp_path / "dates", break_off)
    assert list(tmp_path.iterdir()) == []


def test_the_client_side_of_the_demo_never_imports_torch():
    code = "import sys, trainyard.demo.story; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(dates.__file__).parents[2],
    )
    assert done.stdout.strip() == "False"
