"""Properties of what follows from the lengths of rows, whatever they are."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.preflight.test_properties import needs, never_less, sensible
from training.preflight import Experiment, Lengths, check
from training.preflight.batches import batches_of
from training.preflight.estimate import estimate
from training.preflight.lengths import Basis
from training.trainer.spec import ATTENTION, METHODS

quick = settings(deadline=None, max_examples=60)
lengths = st.integers() | st.floats() | st.integers(1, 5000)
bases: st.SearchStrategy[Basis] = st.sampled_from(get_args(Basis))
METHODS_OF_TEXT = [name for name, method in METHODS.items() if method.modality == "text"]


@st.composite
def histograms(draw: st.DrawFn, most: int = 4000) -> Lengths:
    counts = st.tuples(st.integers(1, most), st.integers(1, 10**6))
    longest = draw(st.none() | st.integers(1, 2 * most))
    drawn = draw(st.lists(counts, min_size=1, max_size=30))
    found = Lengths.of(drawn, basis=draw(bases), longest=longest)
    assert found is not None
    return found


def with_rows(e: Experiment, lengths: Lengths | None) -> Experiment:
    if lengths is None:
        return e
    known = replace(
        e.dataset,
        num_samples=lengths.rows,
        lengths=lengths,
        mean_tokens=lengths.mean,
        max_tokens=lengths.longest,
        held_out=lengths,
        held_out_rows=50,
    )
    return replace(e, dataset=known)


def seconds(e: Experiment) -> float:
    found = estimate(e)
    assert found is not None
    assert found.duration is not None
    return found.duration.total_s


@quick
@given(sensible(), histograms(), st.integers(1, 500))
def test_longer_rows_never_need_less(e: Experiment, rows: Lengths, more: int) -> None:
    counts = [(length + more, number) for length, number in rows.counts]
    further = None if rows.longest is None else rows.longest + more
    longer = Lengths.of(counts, basis=rows.basis, longest=further)
    never_less(with_rows(e, rows), with_rows(e, longer))
    assert seconds(with_rows(e, rows)) <= seconds(with_rows(e, longer)) * (1 + 1e-9)


@quick
@given(sensible(), histograms(), st.integers(1, 4000))
def test_less_that_is_cut_never_needs_less(e: Experiment, rows: Lengths, more: int) -> None:
    e = with_rows(e, rows)
    larger = replace(e, train=replace(e.train, max_length=e.train.max_length + more))
    never_less(e, larger)
    assert batches_of(larger).cut_rows <= batches_of(e).cut_rows
    assert batches_of(larger).lost_tokens <= batches_of(e).lost_tokens + 1e-12


@quick
@given(sensible(), histograms(), st.integers(1, 16))
def test_more_rows_at_once_never_need_less(e: Experiment, rows: Lengths, more: int) -> None:
    e = with_rows(e, rows)
    batch = e.train.global_batch_size + more * e.train.grad_accum
    larger = replace(e, train=replace(e.train, global_batch_size=batch))
    assert needs(e)[0] <= needs(larger)[0]


@quick
@given(sensible(), histograms(), st.sampled_from(METHODS_OF_TEXT), st.booleans(), st.booleans())
def test_no_batch_is_smaller_than_its_rows_or_larger_than_the_largest(
    e: Experiment, rows: Lengths, method: str, packing: bool, grouped: bool
) -> None:
    train = replace(e.train, packing=packing, group_by_length=grouped)
    e = replace(with_rows(e, rows), train=train, recipe=replace(e.recipe, method=method))
    told = batches_of(e)
    assert 1 <= told.row_tokens <= e.longest_row_tokens * (1 + 1e-9)
    assert told.row_tokens <= told.padded_tokens * (1 + 1e-9)
    assert told.row_tokens * e.micro_batch_size <= told.micro_batch_tokens * (1 + 1e-9)
    assert 0 <= told.lost_tokens < 1
    assert 0 <= told.cut_rows <= 1


@quick
@given(
    sensible(),
    st.lists(st.tuples(lengths, st.integers()), max_size=8),
    bases,
    st.none() | st.integers(),
    st.none() | st.integers(),
    st.sampled_from(sorted(METHODS)),
    st.sampled_from(ATTENTION),
    st.booleans(),
)
def test_no_lengths_of_the_allowed_types_raise(
    e: Experiment,
    counts: list[tuple[float, int]],
    basis: Basis,
    longest: int | None,
    rows: int | None,
    method: str,
    attention: str,
    packing: bool,
) -> None:
    found = Lengths.of(counts, basis=basis, longest=longest)
    e = with_rows(e, found)
    dataset = replace(e.dataset, num_samples=rows, held_out_rows=longest, size_bytes=rows)
    train = replace(
        e.train,
        max_steps=None,
        packing=packing and method in ("full", "lora"),
        attn_implementation=attention,
    )
    e = replace(e, dataset=dataset, train=train, recipe=replace(e.recipe, method=method))
    json.dumps(check(e).as_dict(), allow_nan=False)
