"""Numbers and times as the pages say them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from trainyard.templatetags import human


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "–"),
        (0.2, "0 s"),
        (59.6, "1 min"),
        (72, "1 min 12 s"),
        (3600, "1 h"),
        (3605, "1 h"),
        (4325, "1 h 12 min"),
        (90_061, "1 d 1 h"),
    ],
)
def test_a_duration_has_its_two_largest_units(seconds: float | None, words: str) -> None:
    assert human.duration(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "just now"),
        (44, "just now"),
        (45, "1 min ago"),
        (60 * 12, "12 min ago"),
        (2699, "45 min ago"),
        (2700, "1 h ago"),
        (3600 * 5, "5 h ago"),
        (86_400 * 2, "2 d ago"),
    ],
)
def test_a_moment_is_told_by_how_long_ago_it_was(seconds: int, words: str) -> None:
    assert human.ago(timezone.now() - timedelta(seconds=seconds + 0.1)) == words


def test_after_a_week_a_moment_is_its_date() -> None:
    then = timezone.now() - timedelta(days=9)
    assert human.ago(then) == f"{then.day} {then:%b %Y}"


def test_a_moment_carries_the_exact_time_for_machines() -> None:
    then = timezone.now() - timedelta(minutes=3)
    html = human.moment(then)
    assert f'datetime="{then.isoformat(timespec="seconds")}"' in html
    assert ">3 min ago</time>" in html


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "–"),
        ("", "–"),
        (0, "0"),
        (7, "7"),
        (12_345, "12,345"),
        (2412.7, "2,413"),
        (0.0, "0"),
        (0.34251, "0.3425"),
        (3.14159, "3.142"),
        (0.0002, "0.0002"),
        (2e-5, "2e-05"),
        (True, "True"),
        ("auto", "auto"),
    ],
)
def test_a_number_has_four_digits_that_matter(value: Any, words: str) -> None:
    assert human.number(value) == words


@pytest.mark.parametrize(
    ("size_bytes", "words"),
    [
        (0, "–"),
        (None, "–"),
        (812, "812 B"),
        (1024, "1.0 KiB"),
        (250_000, "244 KiB"),
        (48_000_000, "45.8 MiB"),
        (2 * 2**40, "2.0 TiB"),
        (5000 * 2**40, "5000.0 TiB"),
    ],
)
def test_a_size_has_binary_units(size_bytes: int | None, words: str) -> None:
    assert human.filesize(size_bytes) == words


@pytest.mark.parametrize(
    ("billions", "words"),
    [(None, "–"), (7.0, "7 B"), (0.0041, "4.1 M"), (0.6, "600 M"), (2e-5, "20 K")],
)
def test_parameters_have_the_unit_that_people_use(billions: float | None, words: str) -> None:
    assert human.parameters(billions) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [("adamw", "adamw"), (False, "false"), (None, "null"), ([1, "ü"], '[1, "ü"]')],
)
def test_a_setting_reads_as_in_the_api(value: Any, words: str) -> None:
    assert human.setting(value) == words
