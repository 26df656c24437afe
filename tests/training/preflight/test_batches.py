"""What preflight says of batches, compared with those that the trainer's own loader makes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.training.preflight.experiments import LLAMA_2_7B, make_experiment
from training.preflight import Experiment, Lengths, check
from training.preflight.batches import NOT_FLAT, batches_of, lies_flat, padded_row_tokens
from training.trainer import prepare
from training.trainer.data.loader import Loader
from training.trainer.data.packing import Packs
from training.trainer.data.tokens import Row
from training.trainer.objectives.language import LossHead, collate

CPU = torch.device("cpu")
MAX_LENGTH = 300
BATCH, ACCUMULATION = 16, 4
DRAWN = np.maximum(np.random.default_rng(8).lognormal(4.3, 0.8, 1500).astype(int), 2)


def experiment(**train: Any) -> Experiment:
    lengths = Lengths.of(Counter(DRAWN.tolist()).items())
    assert lengths is not None
    return make_experiment(
        dataset={
            "num_samples": len(DRAWN),
            "lengths": lengths,
            "mean_tokens": lengths.mean,
            "max_tokens": lengths.longest,
        },
        train={
            "max_steps": None,
            "num_train_epochs": 1.0,
            "global_batch_size": BATCH,
            "grad_accum": ACCUMULATION,
            "max_length": MAX_LENGTH,
            **train,
        },
    )


@dataclass
class Seen:
    """Of one epoch of the trainer's loader: examples, and the tokens they have, cost where they lie
    flat, and cost where they are padded; and the largest micro batch."""

    examples: int
    own: int = 0
    flat: int = 0
    padded: int = 0
    largest: int = 0


def one_epoch(e: Experiment) -> Seen:
    rows = [
        Row(np.zeros(length, np.int32), np.ones(length, np.bool_))
        for length in np.minimum(DRAWN, MAX_LENGTH).tolist()
    ]
    examples: Any = Packs(rows, MAX_LENGTH) if e.train.packing else rows
    loader = Loader(
        examples=examples,
        collate=lambda some, device: collate(some, 0, device),
        device=CPU,
        global_batch_size=e.train.global_batch_size,
        micro_batch_size=e.micro_batch_size,
        seed=3,
        group_by_length=e.train.group_by_length,
    )
    seen = Seen(len(examples))
    for step in range(len(examples) // e.train.global_batch_size):  # whole batches
        taken = loader.batches_of(step)
        seen.own += taken.tokens
        for batch in taken.batches:
            seen.flat += batch.input_ids.numel()
            seen.largest = max(seen.largest, sum(batch.layout.lengths))
            rows_, longest = batch.layout.padded.shapes[0]
            seen.padded += rows_ * longest
    return seen


@pytest.mark.parametrize(
    "train",
    [
        {},
        {"group_by_length": True},
        {"packing": True},
        {"grad_accum": 1},
        {"grad_accum": 16},
    ],
    ids=str,
)
def test_batches_are_as_large_as_the_loader_makes_them(train: dict[str, Any]) -> None:
    """Own tokens, and flat ones, within 1 %: an epoch's last rows are left out here. Padded ones
    within 4 %, as one epoch is one draw."""
    e = experiment(**train)
    seen, told = one_epoch(e), batches_of(e)
    assert told.rows_an_epoch == seen.examples
    steps = seen.examples // BATCH
    assert told.steps == prepare.resolve_max_steps(e.train, seen.examples)
    assert told.row_tokens * BATCH * steps == pytest.approx(seen.own, rel=0.01)
    assert told.padded_tokens * BATCH * steps == pytest.approx(seen.flat, rel=0.01)
    assert told.micro_batch_tokens >= seen.largest
    padded = replace(e, train=replace(e.train, attn_implementation="eager"))
    cost = batches_of(padded).padded_tokens
    assert cost * BATCH * steps == pytest.approx(seen.padded, rel=0.04)


def test_grouped_by_length_the_longest_rows_come_together_and_first() -> None:
    e = experiment(group_by_length=True)
    assert batches_of(e).micro_batch_tokens == sum(sorted(np.minimum(DRAWN, MAX_LENGTH))[-4:])
    assert one_epoch(e).largest <= batches_of(e).micro_batch_tokens


def test_where_not_every_row_was_counted_all_may_be_as_long_as_the_longest() -> None:
    e = experiment()
    sampled = Lengths.of([(50, 1400), (290, 100)], basis="sampled", longest=900)
    e = replace(e, dataset=replace(e.dataset, lengths=sampled, max_tokens=900))
    assert batches_of(e).micro_batch_tokens == 4 * MAX_LENGTH


def test_what_is_cut_is_counted() -> None:
    told = batches_of(experiment())
    assert told.cut_rows == (DRAWN > MAX_LENGTH).mean()
    lost = 1 - np.minimum(DRAWN, MAX_LENGTH).sum() / DRAWN.sum()
    assert told.lost_tokens == pytest.approx(lost)


def test_text_read_on_and_on_fills_its_blocks() -> None:
    told = batches_of(
        replace(experiment(), recipe=make_experiment(recipe={"method": "pretrain"}).recipe)
    )
    blocks = -(-int(DRAWN.sum()) // MAX_LENGTH)
    assert (told.rows_an_epoch, told.row_tokens) == (blocks, MAX_LENGTH)
    assert told.cut_rows == told.lost_tokens == 0


def test_a_pair_is_two_rows_for_kto() -> None:
    recipe = {"method": "kto"}
    rows = {"num_samples": 800, "row_format": "preference"}
    train = {"max_steps": None, "num_train_epochs": 1.0}
    assert make_experiment(recipe=recipe, dataset=rows, train=train).steps == 200


def test_a_row_longer_than_the_window_is_padded() -> None:
    e = experiment(grad_accum=1)
    flat = padded_row_tokens(e, batches_of(e).row_tokens)
    config = LLAMA_2_7B | {"model_type": "mistral", "sliding_window": 299}
    narrow = replace(e, model=replace(e.model, config=config))
    assert padded_row_tokens(narrow, batches_of(e).row_tokens) > 1.5 * flat
    unused = replace(e.model, config=config | {"use_sliding_window": False})
    assert padded_row_tokens(replace(e, model=unused), batches_of(e).row_tokens) == flat


def test_real_tokens_are_counted_and_padding_is_not() -> None:
    e = experiment()
    report = check(e)
    per_row = report.throughput["tokens_per_second"] / report.throughput["samples_per_second"]
    assert per_row == pytest.approx(np.minimum(DRAWN, MAX_LENGTH).mean(), rel=0.01)
    padded = replace(e, train=replace(e.train, attn_implementation="eager"))
    assert check(padded).time_per_step_ms > report.time_per_step_ms


SMALL = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "vocab_size": 120,
    "max_position_embeddings": 64,
}


@pytest.mark.parametrize(
    "family", ["llama", "qwen2", "qwen3", "gemma", "phi", "gpt_neox", "opt", "stablelm", "nemotron"]
)
def test_the_families_that_lie_flat_are_those_that_the_trainer_finds(family: str) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(family, **SMALL)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
    flat = LossHead(model).ways.longest_flat > 0
    assert flat is lies_flat(make_experiment(model={"config": config.to_dict()}))
    assert flat is (family not in NOT_FLAT)
