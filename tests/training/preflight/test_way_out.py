"""Where it does not fit, the sentence ends with what would make it fit, or what would hold it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from tests.training.preflight.experiments import FULL, LLAMA_2_7B, make_experiment
from training.preflight import Experiment, check
from training.preflight.hardware import find_card, known_cards


def layers(count: int, **parts: Any) -> Experiment:
    model = {"config": LLAMA_2_7B | {"num_hidden_layers": count}} | parts.pop("model", {})
    return make_experiment(
        model=model, **{"recipe": FULL, "resources": {"gpu_type": "l4"}, **parts}
    )


def sentence(e: Experiment) -> str:
    return next(one for one in check(e).errors if "Does not fit" in one)


def fits_on(e: Experiment, gpu_type: str) -> bool:
    return check(replace(e, resources=replace(e.resources, gpu_type=gpu_type))).fits is True


@pytest.mark.parametrize("count", [200, 800])
def test_the_least_and_the_smallest_card_that_holds_it(count: int) -> None:
    e = layers(count)
    least = check(e).fixes[0]
    told = re.search(
        r"The least is (\S+) GB: train with QLoRA, gradient checkpointing and micro batches of 1\. "
        r"That would fit on (\S+), the smallest card of the catalogue that is large enough\.$",
        sentence(e),
    )
    assert told is not None, sentence(e)
    assert float(told[1]) == round(least.estimated_vram_mb / 1024, 1)
    assert fits_on(least.experiment, told[2])
    smallest = find_card(told[2])
    assert smallest is not None
    for slug in known_cards():
        card = find_card(slug)
        assert card is not None
        if (card.memory_bytes or 0) < (smallest.memory_bytes or 0):
            assert not fits_on(least.experiment, slug), slug


def test_no_card_alone_holds_it() -> None:
    assert sentence(layers(4000)).endswith("That would fit on 4 × mi300x with zero3.")


def test_nothing_holds_it() -> None:
    e = layers(4000, model={"quantized": True, "quantization": "gptq"}, recipe={})
    assert re.search(r"The least is \S+ GB: [^.]*\.$", sentence(e)), sentence(e)


def test_nothing_makes_it_smaller() -> None:
    train = {"gradient_checkpointing": True, "grad_accum": 8, "max_length": 128, "optim": "sgd"}
    e = layers(300, recipe={"method": "qlora"}, train=train)
    assert check(e).fixes == ()
    assert "Nothing makes it smaller. That would fit on" in sentence(e)


def test_what_else_is_missing_here_does_not_matter_there() -> None:
    e = layers(200, model={"has_files": False})
    assert "That would fit on rtx5090" in sentence(e)
