"""Rows in packs, and rows behind one another: each is computed as if it were alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.training.trainer import runs
from training.trainer import events, model
from training.trainer.data.loader import Loader
from training.trainer.data.packing import Pack, Packs, best_fit, unpacked
from training.trainer.data.tokens import Row
from training.trainer.objectives.language import LossHead, collate
from training.trainer.spec import RunSpec

CPU = torch.device("cpu")


def some_rows(*lengths: int) -> list[Row]:
    rows = []
    for seed, length in enumerate(lengths):
        random = np.random.default_rng(seed)
        loss = random.random(length) < 0.6
        loss[-1] = True
        rows.append(Row(random.integers(4, 200, length).astype(np.int32), loss))
    return rows


def test_each_row_goes_where_it_leaves_the_least_room() -> None:
    lengths = np.array([3, 7, 5, 2, 6, 2])
    # 7 | 6 | 5; the 3 leaves nothing beside 7, the 2s beside 6 (2 left, less than beside 5)
    assert best_fit(lengths, 10) == [[1, 0], [4, 3, 5], [2]]


@given(st.lists(st.integers(1, 64), max_size=60), st.integers(64, 200))
def test_every_row_is_in_one_pack_and_no_pack_too_long(lengths: list[int], room: int) -> None:
    packs = best_fit(np.array(lengths, np.int64), room)
    assert sorted(row for pack in packs for row in pack) == list(range(len(lengths)))
    sizes = [sum(lengths[row] for row in pack) for pack in packs]
    assert all(size <= room for size in sizes)
    assert sum(size <= room / 2 for size in sizes) <= 1  # two half empty packs would be one


def test_packs_are_as_few_as_those_of_trl() -> None:
    from datasets import Dataset
    from trl.data_utils import pack_dataset

    lengths = np.random.default_rng(0).integers(1, 60, 300)
    theirs = pack_dataset(
        Dataset.from_dict({"input_ids": [[1] * n for n in lengths]}), 128, strategy="bfd"
    )
    assert len(best_fit(lengths, 128)) == len(theirs)


def head_of(base_model: Path, **train: Any) -> LossHead:
    spec = RunSpec.from_dict(
        {
            "run_id": "1",
            "name": "packs",
            "method": "full",
            "base_model": {"path": str(base_model)},
            "dataset": {"train": ["train.jsonl"]},
            "export_dir": "",
            "train": train,
        }
    )
    return LossHead(model.load_model(spec, CPU, None))


@pytest.fixture(scope="module")
def head(base_model: Path) -> LossHead:
    return head_of(base_model)


def test_the_loss_of_every_token_is_that_of_its_row_alone(head: LossHead) -> None:
    rows = some_rows(9, 30, 4, 17, 30, 2)
    together = collate(rows, 0, CPU)
    found = losses(head, together).split([row.weight for row in rows])
    for row, of_row in zip(rows, found, strict=True):
        alone = losses(head, collate([row], 0, CPU))
        torch.testing.assert_close(of_row, alone, rtol=0, atol=1e-4)


def test_gradients_are_those_of_the_rows_alone(head: LossHead) -> None:
    rows = some_rows(9, 30, 4)
    parameters = list(head.parameters())
    together = torch.autograd.grad(head(collate(rows, 0, CPU)).loss, parameters)
    alone = [torch.autograd.grad(head(collate([row], 0, CPU)).loss, parameters) for row in rows]
    for found, parts in zip(together, zip(*alone, strict=True), strict=True):
        torch.testing.assert_close(found, sum(parts), rtol=1e-4, atol=1e-4)


def test_activations_that_are_computed_again_are_the_same(head: LossHead, base_model: Path) -> None:
    batch = collate(some_rows(9, 30, 4), 0, CPU)
    again = head_of(base_model, gradient_checkpointing=True)
    assert again.ways.longest_flat == head.ways.longest_flat == math.inf
    expected = torch.autograd.grad(head(batch).loss, list(head.parameters()))
    again(batch).loss.backward()
    for parameter, gradient in zip(again.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_no_row_sees_another(head: LossHead) -> None:
    first, other, last = some_rows(8, 8, 11)
    with torch.no_grad():
        beside_first = head.logits(collate([first, last], 0, CPU))[-last.weight :]
        beside_other = head.logits(collate([other, last], 0, CPU))[-last.weight :]
    assert torch.equal(beside_first, beside_other)


def losses(head: LossHead, batch: Any) -> torch.Tensor:
    with torch.no_grad():
        logits = head.logits(batch)
    return torch.nn.functional.cross_entropy(logits, batch.targets, reduction="none")


def test_a_pack_counts_as_one_example() -> None:
    rows = some_rows(9, 30, 4, 17, 2)
    packs = Packs(rows, 34)
    assert [pack.length for pack in packs] == packs.lengths.tolist() == [34, 28]
    assert packs[0] == Pack((rows[1], rows[2]))
    assert sum(pack.weight for pack in packs) == sum(row.weight for row in rows)

    loader = Loader(
        examples=packs,
        collate=lambda rows, device: rows,
        device=CPU,
        global_batch_size=2,
        micro_batch_size=1,
        seed=0,
    )
    step = loader.step(0)
    assert (step.rows, step.tokens) == (2, 62)
    assert sorted(map(len, step.batches)) == [2, 3]
    assert unpacked([packs[0], rows[0]]) == [rows[1], rows[2], rows[0]]


def test_a_run_with_packs_learns(make_run: Callable[..., Path]) -> None:
    train = {"packing": True, "max_length": 64, "global_batch_size": 2, "learning_rate": 3e-3}
    train |= {"max_steps": 40, "checkpoint_interval": 15}
    run_dir = make_run("packs", train=train)
    assert runs.finish(run_dir) == 0, (run_dir / "log.txt").read_text()
    steps = runs.said(run_dir, events.STEP)
    full = [step["tokens"] for step in steps if 115 < step["tokens"] <= 128]
    assert len(full) >= 30  # one pack has room left, the others hardly
    found = runs.losses(run_dir)
    assert found[40] < 0.5 * found[1]
