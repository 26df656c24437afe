"""A run that is out of memory goes on with smaller micro batches, and learns the same."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.trainer import runs
from training.trainer import events, memory
from training.trainer.spec import RunSpec


def spec_of(run_dir: Path, **train: Any) -> RunSpec:
    raw = RunSpec.read(run_dir).as_dict()
    return RunSpec.from_dict({**raw, "train": {**raw["train"], **train}})


@pytest.mark.parametrize(
    ("global_batch_size", "grad_accum", "expected"),
    [
        (8, 1, (4, 2)),
        (8, 4, (1, 8)),
        (6, 2, (1, 6)),  # three rows are halved to one, for two do not divide six in threes
        (12, 2, (3, 4)),
        (10, 2, (2, 5)),
        (7, 1, (1, 7)),
        (8, 8, None),
    ],
)
def test_the_next_micro_batch_is_at_most_half_and_divides(
    make_run: Callable[..., Path],
    global_batch_size: int,
    grad_accum: int,
    expected: tuple[int, int] | None,
) -> None:
    batch = {"global_batch_size": global_batch_size, "grad_accum": grad_accum}
    facts = memory.smaller_batch(spec_of(make_run("sizes"), **batch))
    found = (facts["micro_batch_size"], facts["grad_accum"]) if facts else None
    assert found == expected


def test_no_other_micro_batch_is_tried_where_it_would_not_be_the_same_training(
    make_run: Callable[..., Path],
) -> None:
    spec = spec_of(make_run("as-it-is"), auto_find_batch_size=False)
    assert memory.smaller_batch(spec) is None
    assert memory.smaller_batch(replace(spec_of(make_run("kto")), method="kto")) is None


def test_what_was_found_holds_over_restarts_and_is_said_once(make_run: Callable[..., Path]) -> None:
    run_dir = make_run("again")
    first = spec_of(run_dir)
    with pytest.raises(memory.BeginAnew), memory.room_for_steps(first, run_dir):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    second = memory.spec_in_force(first, run_dir)
    with pytest.raises(memory.BeginAnew), memory.room_for_steps(second, run_dir):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB.")
    # Another rank, in the same step.
    with pytest.raises(memory.BeginAnew), memory.room_for_steps(second, run_dir):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB.")
    assert [facts["micro_batch_size"] for facts in memory.noted(run_dir)] == [4, 2]
    assert memory.spec_in_force(first, run_dir).train.micro_batch_size(1) == 2
    for _ in range(2):
        with contextlib.closing(events.EventLog(run_dir)) as log:
            memory.tell(run_dir, log)
    told = [line["micro_batch_size"] for line in runs.said(run_dir, events.BATCH_HALVED)]
    assert told == [4, 2]


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory."), ValueError("x")])
def test_what_no_smaller_batch_can_help_is_passed_on(
    make_run: Callable[..., Path], error: Exception
) -> None:
    run_dir = make_run("smallest")
    spec = spec_of(run_dir, global_batch_size=4, grad_accum=4)
    with pytest.raises(type(error)) as caught, memory.room_for_steps(spec, run_dir):
        raise error
    assert caught.value is error
    assert not memory.noted(run_dir)
