"""A real little job to learn: rewrite a date, written as people write it, in ISO 8601.

Rows are ``{"prompt": "March 7th, 2021 in ISO 8601:", "completion": "2021-03-07"}``. The split is by
date, not by row: a date in train, in any spelling, is never in validation.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

from trainyard.demo.rows import Row, write_splits

FIRST = date(1950, 1, 1)
LAST = date(2049, 12, 31)
TRAIN_ROWS = 10_000
VALIDATION_ROWS = 200

MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def ordinal(number: int) -> str:
    """1 -> "1st", 12 -> "12th", 23 -> "23rd"."""
    if number % 100 in (11, 12, 13):
        return f"{number}th"
    return str(number) + {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")


def month(day: date) -> str:
    return MONTHS[day.month - 1]


def weekday(day: date) -> str:
    return WEEKDAYS[day.weekday()]


Spelling = Callable[[date], str]

# Spellings with the name of the month.
WORDED: tuple[Spelling, ...] = (
    lambda day: f"{day.day} {month(day)} {day.year}",
    lambda day: f"{day.day} {month(day)[:3]} {day.year}",
    lambda day: f"{day.day:02}-{month(day)[:3]}-{day.year}",
    lambda day: f"{month(day)} {day.day}, {day.year}",
    lambda day: f"{month(day)[:3]} {day.day}, {day.year}",
    lambda day: f"{month(day)} {ordinal(day.day)}, {day.year}",
    lambda day: f"the {ordinal(day.day)} of {month(day)} {day.year}",
    lambda day: f"{weekday(day)}, {day.day} {month(day)} {day.year}",
    lambda day: f"{weekday(day)[:3]}, {day.day:02} {month(day)[:3]} {day.year}",
    lambda day: f"{weekday(day)}, {month(day)} {ordinal(day.day)}, {day.year}",
)
# Spellings with numbers alone: always day first, so that each says exactly one date.
NUMERIC: tuple[Spelling, ...] = (
    lambda day: f"{day.day:02}.{day.month:02}.{day.year}",
    lambda day: f"{day.day}.{day.month}.{day.year}",
    lambda day: f"{day.day:02}/{day.month:02}/{day.year}",
)
SPELLINGS = WORDED + NUMERIC


def prompt(written: str) -> str:
    return f"Write {written} in ISO 8601:"


def splits(
    *, seed: int = 0, train_rows: int = TRAIN_ROWS, validation_rows: int = VALIDATION_ROWS
) -> tuple[list[Row], list[Row]]:
    """The train and the validation rows, each about a date of its own. Same seed, same rows.

    Raises ValueError where more rows are asked for than there are days.
    """
    chance = random.Random(seed)
    days = chance.sample(range((LAST - FIRST).days + 1), train_rows + validation_rows)
    rows = [
        Row(prompt=prompt(spelling(day)), completion=day.isoformat())
        for day in (FIRST + timedelta(days=number) for number in days)
        for spelling in (chance.choice(SPELLINGS),)
    ]
    return rows[validation_rows:], rows[:validation_rows]


def write(folder: Path, *, seed: int = 0) -> None:
    """Make ``folder`` with train.jsonl and validation.jsonl in it."""
    train, validation = splits(seed=seed)
    write_splits(folder, train, validation)
