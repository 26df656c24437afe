"""Histograms, worked out by hand and as the page draws them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.template.loader import render_to_string
from django.test import Client

from accounts.models import User
from registry import pictures
from tests import factories as make
from tests.pages import Page


def test_of_nothing_there_is_no_picture() -> None:
    assert pictures.histogram([]) is None
    assert pictures.histogram([(0, 0)]) is None


def test_bars_stand_beside_each_other_and_are_as_high_as_their_rows_are_many() -> None:
    found = pictures.histogram([(8, 10), (9, 5), (16, 20), (64, 1)])
    assert found is not None
    assert (found.rows, found.shortest, found.longest) == (36, 8, 76)
    assert sum(bar.rows for bar in found.bars) == 36
    for one, other in zip(found.bars, found.bars[1:], strict=False):
        assert one.left + one.width <= other.left
        assert one.high < other.low
    assert found.bars[-1].left + found.bars[-1].width <= pictures.WIDTH
    highest = max(found.bars, key=lambda bar: bar.height)
    assert (highest.rows, highest.height, highest.top) == (20, pictures.HEIGHT, 0)
    lowest = min((bar for bar in found.bars if bar.rows), key=lambda bar: bar.height)
    assert lowest.height > 0.5  # one row among many can still be seen


def drawn(unit: str = "tokens") -> str:
    histogram = pictures.histogram([(8, 1000), (1200, 3)])
    return render_to_string("registry/_histogram.html", {"histogram": histogram, "unit": unit})


def test_the_picture_says_in_words_what_it_shows() -> None:
    html = drawn()
    # A drawing takes its numbers with a point and without marks between the thousands.
    for value in re.findall(r' (?:x|y|width|height)="([^"]*)"', html):
        assert re.fullmatch(r"\d+(\.\d+)?(e-\d+)?", value), value
    assert html.count("<rect") == 2  # where there is no row, there is no bar
    assert 'role="img" aria-label="Rows by their length: from 8 to 1217 tokens"' in html
    assert "8 to 9 tokens: 1000 rows" in html
    assert "<span>1,217</span>" in html


@pytest.mark.django_db
def test_a_datasets_page_has_the_characters_of_all_its_splits(ana: User) -> None:
    lengths = {"train": [[8, 10], [64, 2]], "test": [[8, 5]]}
    dataset = make.make_dataset(statistics={"splits": ["train", "test"], "lengths": lengths})
    client = Client()
    client.force_login(ana)
    page: Any = Page(client.get(f"/datasets/{dataset.pk}"))
    assert "characters: 15 rows" in page.words
    assert len(page.all("rect")) == 2
    without = make.make_dataset(statistics={"splits": ["train"]})
    assert Page(client.get(f"/datasets/{without.pk}")).all("rect") == []
