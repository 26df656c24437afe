"""Predicted against measured, as the admin draws it."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from accounts.models import Project, User
from training.comparison import COLORS, OTHERS, SIDE, Pair, plot, table
from training.models import Measurement


def pair(predicted: float, measured: float, kind: str = "cpu, lora, one") -> Pair:
    return Pair(kind, "job", predicted, measured)


def test_what_was_predicted_well_lies_on_the_diagonal() -> None:
    drawn = plot("Peak", "MiB", [pair(100, 100), pair(5000, 5000)])
    assert drawn is not None
    for dot in drawn.dots:
        assert dot.x == pytest.approx(SIDE - dot.y)


def test_too_much_lies_above_it_and_too_little_below() -> None:
    drawn = plot("Peak", "MiB", [pair(200, 100), pair(100, 200)])
    assert drawn is not None
    above, below = drawn.dots
    assert SIDE - above.y > above.x
    assert SIDE - below.y < below.x
    assert above.label == "job: said 200 MiB, was 100 MiB (+100 %)"


def test_all_of_it_is_inside_and_told_in_words() -> None:
    drawn = plot("Peak", "MiB", [pair(10, 1), pair(1e6, 1e5), pair(105, 100)])
    assert drawn is not None
    places = [place for dot in drawn.dots for place in (dot.x, dot.y)]
    assert all(0 < place < SIDE for place in places)
    assert [tick.words for tick in drawn.ticks] == [
        "1", "10", "100", "1,000", "10,000", "100,000", "1,000,000",
    ]  # fmt: skip
    assert drawn.words == "Peak: of 3 runs 1 within 10 %, median error 900.0 %."


def test_the_frequent_kinds_have_colours() -> None:
    many = [pair(1, 1, kind=f"kind {n}") for n in range(9)] + [pair(1, 1, kind="often")] * 2
    drawn = plot("Peak", "MiB", many)
    assert drawn is not None
    assert drawn.legend[0] == (COLORS[0], "often")
    assert drawn.legend[-1] == (OTHERS, "others")
    assert len(drawn.legend) == len(COLORS) + 1


def test_nothing_is_no_picture() -> None:
    assert plot("Peak", "MiB", []) is None
    assert plot("Peak", "MiB", [pair(0, 100)]) is None


def test_the_table_has_the_median_error_of_each_kind() -> None:
    memory = [pair(110, 100), pair(90, 100), pair(130, 100), pair(100, 100, kind="other")]
    rows = {row.kind: row for row in table(memory, [pair(300, 100)])}
    assert rows["cpu, lora, one"].runs == 3
    assert rows["cpu, lora, one"].memory == pytest.approx(10)
    assert rows["cpu, lora, one"].time == pytest.approx(200)
    assert rows["other"].time is None


@pytest.fixture
def curator(root: User) -> Client:
    client = Client()
    client.force_login(root)
    return client


def make_measurement(**fields: Any) -> Measurement:
    return Measurement.objects.create(
        **{
            "project": Project.objects.default(), "name": "job-1", "model_name": "tiny",
            "attempt": 1, "card": "cpu", "method": "lora", "strategy": "one", "formulas": 1,
            "steps": 50, "predicted_peak_mb": 1200.0, "measured_peak_mb": 1000.0,
            "predicted_step_ms": 100.0, "measured_step_ms": 80.0, **fields,
        }
    )  # fmt: skip


@pytest.mark.django_db
def test_the_admin_shows_it_of_the_rows_that_the_filters_leave(curator: Client) -> None:
    make_measurement()
    make_measurement(name="job-2", card="l4", measured_step_ms=None)
    page = curator.get("/admin/training/measurement/").content.decode()
    assert "Peak memory: of 2 runs 0 within 10 %, median error 20.0 %." in page
    assert "<title>job-1: said 100 ms, was 80 ms (+25 %)</title>" in page
    assert page.count('<circle cx="') >= 3
    filtered = curator.get("/admin/training/measurement/?card=l4").content.decode()
    assert "Peak memory: of 1 run 0 within 10 %" in filtered
    assert "A step: of" not in filtered


@pytest.mark.django_db
def test_the_admin_says_so_where_nothing_was_measured(curator: Client) -> None:
    page = curator.get("/admin/training/measurement/").content.decode()
    assert "Nothing has been measured yet." in page
