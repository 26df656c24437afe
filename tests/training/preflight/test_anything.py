"""No facts of the allowed types raise, whatever they say: strategies by type, for every field.

A field of a new type fails here until somebody says what can be in it.
"""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any, get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.preflight.experiments import LLAMA_2_7B
from training.preflight import (
    CardFacts,
    DatasetFacts,
    Experiment,
    Lengths,
    LoraSpec,
    ModelFacts,
    RecipeFacts,
    Resources,
    Stack,
    SuiteFacts,
    TrainSpec,
    check,
)
from training.preflight.families import FAMILIES
from training.preflight.hardware import known_cards
from training.preflight.lengths import Basis
from training.trainer.spec import (
    ATTENTION,
    DTYPES,
    EXPORTS,
    LOSS_TYPES,
    METHODS,
    MIXED_PRECISION,
    OPTIMIZERS,
    REPORTERS,
    SCHEDULES,
    STRATEGIES,
)

numbers = st.one_of(st.integers(), st.sampled_from([0, 1, -1, 10**9, 10**30, 10**400]))
positive = st.integers(1, 64) | st.integers(min_value=1) | st.sampled_from([10**30, 10**400])
not_negative = st.just(0) | positive
a_share = st.floats(0, 0.499)
# JSON's numbers are neither infinite nor undefined, and these reach the trainer as JSON.
amounts = st.floats(0, allow_infinity=False)
words = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["text", "float32", "bf16", "cpu", "a100", "train", "validation", "gptq"]),
)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)
config_keys = st.sampled_from(
    [*LLAMA_2_7B, "n_embd", "n_layer", "multi_query", "architectures", "id2label", "num_experts"]
)
flat_configs = st.dictionaries(
    config_keys, json_values | st.integers(1, 5000) | st.sampled_from(sorted(FAMILIES))
)
configs = flat_configs | st.fixed_dictionaries(
    {"model_type": st.just("gemma3") | words},
    optional={"text_config": flat_configs | json_values, "vision_config": flat_configs},
)


@st.composite
def histograms(draw: st.DrawFn) -> Lengths | None:
    pairs = st.lists(st.tuples(numbers, numbers), max_size=4)
    basis: Basis = draw(st.sampled_from(get_args(Basis)))
    return Lengths.of(
        draw(pairs), basis=basis, longest=draw(st.none() | numbers), begins=draw(pairs)
    )


BY_TYPE: dict[str, st.SearchStrategy[Any]] = {
    "str": words,
    "str | None": st.none() | words,
    "bool": st.booleans(),
    "bool | None": st.none() | st.booleans(),
    "int": numbers,
    "int | None": st.none() | numbers,
    "float | None": st.none() | st.floats() | st.just(10**400),
    "tuple[str, ...]": st.lists(words, max_size=3).map(tuple),
    "frozenset[str] | None": st.none() | st.frozensets(words, max_size=2),
    "Mapping[str, str]": st.dictionaries(words, words, max_size=2),
    "Lengths | None": st.none() | histograms(),
    "dict[str, Any] | None": st.none() | configs,
}


def anything(kind: type[Any], **parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """With ``parts`` in place of what the type of these fields allows."""
    others = {one.name: BY_TYPE[str(one.type)] for one in fields(kind) if one.name not in parts}
    return st.builds(kind, **others, **parts)


# What `TrainSpec` and `LoraSpec` refuse never reaches a preflight.
trains = anything(
    TrainSpec,
    max_steps=st.none() | positive,
    num_train_epochs=st.floats(0, exclude_min=True, allow_infinity=False),
    **dict.fromkeys(
        ("global_batch_size", "grad_accum", "logging_steps", "checkpoint_interval"), positive
    ),
    save_total_limit=positive,
    **dict.fromkeys(("warmup_steps", "seed"), not_negative),
    max_length=positive.map(lambda length: length + 1),
    dataset_num_proc=st.none() | positive,
    learning_rate=amounts,
    **dict.fromkeys(("weight_decay", "max_grad_norm"), amounts),
    **dict.fromkeys(("desirable_weight", "undesirable_weight"), amounts),
    beta=st.floats(0, exclude_min=True, allow_infinity=False),
    label_smoothing=a_share,
    lr_scheduler_type=st.sampled_from(SCHEDULES),
    optim=st.sampled_from(OPTIMIZERS),
    dtype=st.sampled_from(DTYPES),
    attn_implementation=st.sampled_from(ATTENTION),
    loss_type=st.sampled_from(LOSS_TYPES),
    report_to=st.lists(st.sampled_from(REPORTERS), max_size=2).map(tuple),
)
loras = anything(
    LoraSpec,
    r=positive,
    lora_alpha=positive,
    lora_dropout=a_share,
    target_modules=st.just("all-linear") | words | st.lists(words, max_size=3).map(tuple),
)
resources = anything(
    Resources,
    gpus=st.integers(-2, 3) | numbers,
    gpu_type=st.none() | words | st.sampled_from(known_cards()),
    strategy=words | st.sampled_from(STRATEGIES),
    mixed_precision=words | st.sampled_from(MIXED_PRECISION),
    cards=st.lists(anything(CardFacts), max_size=3).map(tuple),
)
recipes = anything(RecipeFacts, method=st.sampled_from(sorted(METHODS)) | words)
experiments = anything(
    Experiment,
    model=anything(ModelFacts),
    dataset=anything(DatasetFacts),
    recipe=recipes,
    train=trains,
    lora=loras,
    resources=resources,
    suites=st.lists(anything(SuiteFacts), max_size=2).map(tuple),
    export=st.lists(words | st.sampled_from(EXPORTS), max_size=3).map(tuple),
    stack=st.just(Stack()),
)


@settings(deadline=None, max_examples=250)
@given(experiments)
def test_no_facts_of_the_allowed_types_raise(experiment: Experiment) -> None:
    report = check(experiment)
    assert report.ok is not bool(report.errors)
    json.dumps(report.as_dict(), allow_nan=False)
