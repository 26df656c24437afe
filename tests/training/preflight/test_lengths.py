"""What follows from how long rows are, compared with the rows themselves."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.preflight import Lengths
from training.preflight.token_rate import GUESSED, TokenRate, rate_of
from training.trainer.data.packing import best_fit

some_lengths = st.lists(st.integers(1, 300), min_size=1, max_size=120)


def lengths_of(rows: Sequence[int]) -> Lengths:
    found = Lengths.of(Counter(rows).items())
    assert found is not None
    return found


def test_what_a_histogram_knows_worked_out_by_hand() -> None:
    lengths = lengths_of([10, 40, 10, 100])
    assert lengths.counts == ((10, 2), (40, 1), (100, 1))
    assert (lengths.rows, lengths.tokens, lengths.mean, lengths.longest) == (4, 160, 40.0, 100)
    assert lengths.longer_than(40) == 1
    assert lengths.attended == (100 + 100 + 1600 + 10_000) / 160
    assert lengths.sum_of_longest(1) == 100
    assert lengths.sum_of_longest(3) == 150
    assert lengths.sum_of_longest(5) == 170  # the shortest comes twice
    # Of two draws: both 10 in a quarter of all, no more than 40 in nine of sixteen.
    assert lengths.largest_of(2) == (4 * 10 + 5 * 40 + 7 * 100) / 16
    assert lengths.none_longer(40, 2) == 9 / 16


def test_rows_are_cut_and_nothing_else_is() -> None:
    lengths = lengths_of([10, 40, 10, 100])
    assert lengths.cut(40).counts == ((10, 2), (40, 2))
    assert lengths.cut(40).longest == 40
    assert lengths.cut(25).counts == ((10, 2), (25, 2))
    assert lengths.cut(100) is lengths


def test_rows_whose_prompt_fills_all_the_room_are_left_out() -> None:
    """[prompt, row]: (5, 10), (30, 40), (40, 50) and (60, 70) tokens."""
    counts, begins = [(10, 1), (40, 1), (50, 1), (70, 1)], [(5, 1), (30, 1), (40, 1), (60, 1)]
    lengths = Lengths.of(counts, begins=begins)
    assert lengths is not None
    assert [lengths.left_out(limit) for limit in (5, 30, 40, 60, 61)] == [1, 0.75, 0.5, 0.25, 0]
    assert lengths.learned(40).counts == ((10, 1), (40, 1))
    assert lengths.learned(61).counts == ((10, 1), (40, 1), (50, 1), (61, 1))
    assert lengths.learned(5).counts == ((5, 4),)  # nothing is left: an error elsewhere


@pytest.mark.parametrize("nothing", [[], [(0, 5)], [(5, 0)], [(-1, 2)], [(float("nan"), 1)]])
def test_of_nothing_that_can_be_there_is_no_histogram(nothing: list[tuple[float, int]]) -> None:
    assert Lengths.of(nothing) is None


@settings(deadline=None, max_examples=200)
@given(some_lengths, st.integers(2, 400))
def test_packs_are_as_many_as_the_trainer_makes(rows: list[int], limit: int) -> None:
    cut = np.minimum(rows, limit)
    assert lengths_of(rows).packs(limit) == len(best_fit(cut, limit))


@pytest.mark.parametrize(("pool", "at_once"), [(8, 8), (8, 2), (32, 4), (1600, 8)])
def test_padding_is_what_chance_makes_it(pool: int, at_once: int) -> None:
    """Two percent: the draws here have an error of their own of about one."""
    random = np.random.default_rng(5)
    rows = np.maximum(random.lognormal(4.5, 0.8, 2000).astype(int), 1)
    seen = []
    for _ in range(max(40_000 // pool, 100)):
        drawn = np.sort(random.choice(rows, pool))
        parts = (drawn[start : start + at_once] for start in range(0, pool, at_once))
        seen.append(sum(len(part) * int(part[-1]) for part in parts) / pool)
    told = lengths_of(rows.tolist()).padded(pool, at_once)
    assert told == pytest.approx(statistics.fmean(seen), rel=0.02)


@settings(deadline=None, max_examples=150)
@given(some_lengths, st.integers(1, 64), st.integers(1, 64), st.integers(1, 500))
def test_nothing_is_out_of_bounds(rows: list[int], pool: int, at_once: int, limit: int) -> None:
    lengths = lengths_of(rows)
    padded = lengths.padded(pool, at_once)
    assert min(rows) <= lengths.mean <= padded * (1 + 1e-9)
    assert padded <= max(rows) * (1 + 1e-9)
    assert lengths.cut(limit).tokens == sum(min(row, limit) for row in rows)
    assert -(-lengths.cut(limit).tokens // limit) <= lengths.packs(limit) <= len(rows)
    assert lengths.sum_of_longest(len(rows)) == sum(rows)


def test_a_rate_is_the_line_through_the_rows() -> None:
    rows = [(100, 35), (200, 60), (400, 110)]  # ten, and a quarter for each character
    rate = rate_of(rows)
    assert rate.per_row == pytest.approx(10)
    assert rate.per_character == pytest.approx(0.25)
    assert rate.highest == pytest.approx(0.25)
    assert rate.longest(1000) == pytest.approx(260, abs=1)
    found = rate.lengths([(100, 3), (400, 1)], 400)
    assert found is not None
    assert found.counts == ((35, 3), (110, 1))
    assert found.basis == "sampled"
    assert found.longest == pytest.approx(110, abs=1)


def test_rows_that_are_alike_tell_one_number_only() -> None:
    assert rate_of([(80, 20), (80, 24)]) == TokenRate(per_character=0.275, highest=0.3)


def test_of_nothing_a_rate_is_guessed_and_so_is_what_follows() -> None:
    assert rate_of([]) is GUESSED
    found = GUESSED.lengths([(400, 10)], 400)
    assert found is not None
    assert (found.counts, found.basis, found.longest) == (((100, 10),), "guessed", None)
    assert GUESSED.longest(400) is None


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 10**7), st.integers(0, 10**7)), max_size=30))
def test_no_rows_make_a_rate_that_cannot_be(rows: list[tuple[int, int]]) -> None:
    rate = rate_of(rows)
    assert rate.per_row >= 0
    assert rate.per_character > 0
    assert rate.tokens(0) >= 1
    assert rate.tokens(10**6) >= rate.tokens(10**5)
