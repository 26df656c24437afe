"""Which rows a step takes follows from the seed and its number alone."""

from __future__ import annotations

import collections

import numpy as np
import pytest

from training.trainer.data.order import Order

LENGTHS = np.random.default_rng(0).integers(1, 500, 1003)


def test_every_epoch_sees_every_row_once_in_its_own_order() -> None:
    order = Order(rows=10, batch_size=4, seed=1)
    steps = [order.of_step(step) for step in range(5)]
    assert [len(step) for step in steps] == [4] * 5  # the third step reaches into epoch two
    rows = [row for step in steps for row in step]
    assert sorted(rows[:10]) == sorted(rows[10:]) == list(range(10))
    assert rows[:10] != rows[10:]


def test_a_batch_larger_than_the_data_repeats_it() -> None:
    counts = collections.Counter(Order(rows=3, batch_size=7, seed=1).of_step(0))
    assert set(counts.values()) == {2, 3}


@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_a_step_takes_the_same_rows_whatever_was_taken_before(lengths: np.ndarray | None) -> None:
    def fresh() -> Order:
        return Order(rows=1003, batch_size=8, seed=7, lengths=lengths)

    run = fresh()
    straight = [run.of_step(step) for step in range(400)]
    assert [fresh().of_step(step) for step in (399, 0, 125, 126)] == [
        straight[step] for step in (399, 0, 125, 126)
    ]
    assert run.of_step(2) == straight[2]  # an epoch that was forgotten meanwhile


def test_rows_of_about_the_same_length_come_together() -> None:
    order = Order(rows=1003, batch_size=8, seed=7, lengths=LENGTHS)
    assert sorted(order.of_epoch(0)) == list(range(1003))
    assert list(order.of_epoch(0)) != list(order.of_epoch(1))
    assert LENGTHS[order.of_epoch(0)[0]] == LENGTHS.max()  # too little memory shows at once
    apart = Order(rows=1003, batch_size=8, seed=7)
    assert padding(order) < padding(apart) / 5


def padding(order: Order) -> int:
    steps = (LENGTHS[order.of_step(step)] for step in range(125))
    return int(sum((lengths.max() - lengths).sum() for lengths in steps))


def test_groups_are_those_of_transformers() -> None:
    """A mega batch is 50 batches, or a quarter of the data; in it the longest row comes first."""
    order = Order(rows=1003, batch_size=8, seed=7, lengths=LENGTHS).of_epoch(0)
    size = 1003 // (8 * 4) * 8
    plain = Order(rows=1003, batch_size=8, seed=7).of_epoch(0)
    for start in range(size, 1003, size):
        part = order[start + 1 : start + size]
        assert list(LENGTHS[part]) == sorted(LENGTHS[part], reverse=True)
    assert len(set(order[:size]) ^ set(plain[:size])) <= 2  # but for the longest, put in front
