"""What must hold for every experiment, not only for those somebody thought of."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.preflight.experiments import LLAMA_2_7B
from training.preflight import (
    CardFacts,
    DatasetFacts,
    Experiment,
    LoraSpec,
    ModelFacts,
    RecipeFacts,
    Resources,
    Stack,
    TrainSpec,
    check,
)
from training.preflight.estimate import estimate
from training.preflight.families import FAMILIES
from training.preflight.hardware import known_cards
from training.preflight.losses import LOSSES
from training.preflight.optimizers import OPTIMIZERS as MEMORY_OF_OPTIMIZERS
from training.trainer.spec import ATTENTION, DTYPES, EXPORTS, METHODS, OPTIMIZERS

quick = settings(deadline=None, max_examples=150)


def methods() -> st.SearchStrategy[str]:
    return st.sampled_from(sorted(set(METHODS) - {"image_classification"}))


@st.composite
def sensible(draw: st.DrawFn) -> Experiment:
    """Any model of a known family with any sensible settings, on one card or the CPU."""
    heads = draw(st.integers(1, 16))
    targets: list[tuple[str, ...] | str] = ["all-linear", ("q_proj", "v_proj"), ("up_proj",)]
    config = LLAMA_2_7B | {
        "model_type": draw(st.sampled_from(sorted(FAMILIES))),
        "num_hidden_layers": draw(st.integers(1, 80)),
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "hidden_size": heads * draw(st.sampled_from([32, 64, 128])),
        "intermediate_size": draw(st.integers(16, 30_000)),
        "vocab_size": draw(st.integers(100, 300_000)),
    }
    micro_batch, accumulation = draw(st.integers(1, 32)), draw(st.integers(1, 8))
    return Experiment(
        model=ModelFacts(name="m", config=config),
        dataset=DatasetFacts(
            name="d",
            num_samples=draw(st.integers(1, 10**6)),
            splits=draw(st.sampled_from([("train",), ("train", "validation")])),
            integrity_checked=True,
            integrity_passed=True,
        ),
        recipe=RecipeFacts(name="r", method=draw(methods())),
        train=TrainSpec(
            max_steps=100,
            global_batch_size=micro_batch * accumulation,
            grad_accum=accumulation,
            max_length=draw(st.integers(2, 8192)),
            dtype=draw(st.sampled_from(DTYPES)),
            optim=draw(st.sampled_from(OPTIMIZERS)),
            gradient_checkpointing=draw(st.booleans()),
            attn_implementation=draw(st.sampled_from(["sdpa", "eager"])),
            torch_compile=draw(st.booleans()),
            use_liger_kernel=draw(st.booleans()),
            use_peft=draw(st.booleans()),
        ),
        lora=LoraSpec(
            r=draw(st.integers(1, 256)),
            target_modules=draw(st.sampled_from(targets)),
            lora_dropout=draw(st.sampled_from([0.0, 0.1])),
            use_dora=draw(st.booleans()),
        ),
        resources=Resources(
            gpus=draw(st.integers(0, 1)),
            gpu_type="b200",
            mixed_precision=draw(st.sampled_from(["no", "bf16", "fp16"])),
        ),
    )


def stacks() -> st.SearchStrategy[Stack]:
    """Other software than ours."""
    truths = [one.name for one in fields(Stack) if one.type == "bool"]
    return st.builds(
        Stack,
        loss=st.sampled_from(sorted(LOSSES)),
        optim=st.none() | st.sampled_from(sorted(MEMORY_OF_OPTIMIZERS)),
        adapter_bytes=st.sampled_from([2, 4]),
        prepares_4bit=st.sampled_from(["all", "norms", "none"]),
        **{name: st.booleans() for name in truths},
    )


def needs(experiment: Experiment) -> tuple[int, float, int]:
    """Memory, step time and disk."""
    found = estimate(experiment)
    assert found is not None
    return found.memory.total_mb, found.speed.time_per_step_ms, found.disk_required_mb


def never_less(small: Experiment, large: Experiment) -> None:
    for less, more in zip(needs(small), needs(large), strict=True):
        assert less <= more * (1 + 1e-9)


@quick
@given(sensible(), st.integers(1, 20))
def test_more_layers_never_need_less(experiment: Experiment, more: int) -> None:
    config = dict(experiment.model.config or {})
    config["num_hidden_layers"] += more
    never_less(experiment, replace(experiment, model=replace(experiment.model, config=config)))


@quick
@given(sensible(), st.integers(1, 4096))
def test_more_tokens_never_need_less(experiment: Experiment, more: int) -> None:
    train = replace(experiment.train, max_length=experiment.train.max_length + more)
    never_less(experiment, replace(experiment, train=train))


@quick
@given(sensible(), stacks(), st.integers(1, 4096))
def test_nor_do_they_with_other_software(experiment: Experiment, stack: Stack, more: int) -> None:
    short = replace(experiment, stack=stack)
    train = replace(experiment.train, max_length=experiment.train.max_length + more)
    never_less(short, replace(short, train=train))


@quick
@given(sensible(), st.integers(1, 16))
def test_a_larger_micro_batch_never_needs_less(experiment: Experiment, more: int) -> None:
    batch = experiment.train.global_batch_size + more * experiment.train.grad_accum
    train = replace(experiment.train, global_batch_size=batch)
    never_less(experiment, replace(experiment, train=train))


@quick
@given(sensible(), st.integers(1, 256))
def test_a_higher_rank_never_needs_less(experiment: Experiment, more: int) -> None:
    lora = replace(experiment.lora, r=experiment.lora.r + more)
    never_less(experiment, replace(experiment, lora=lora))


@quick
@given(
    sensible(),
    st.sampled_from(["zero1", "zero2", "zero3", "fsdp"]),
    st.integers(2, 64),
    st.integers(1, 64),
)
def test_more_cards_that_share_never_need_more_memory(
    experiment: Experiment, strategy: str, gpus: int, more: int
) -> None:
    """With as many rows on each."""

    def on(cards: int) -> int:
        batch = experiment.train.global_batch_size * cards
        train = replace(experiment.train, global_batch_size=batch)
        resources = replace(experiment.resources, gpus=cards, strategy=strategy)
        return needs(replace(experiment, train=train, resources=resources))[0]

    assert on(gpus + more) <= on(gpus)


@quick
@given(sensible(), st.integers(1, 8), st.integers(1, 8))
def test_more_experts_never_need_less(experiment: Experiment, experts: int, more: int) -> None:
    def with_experts(count: int) -> Experiment:
        config = dict(experiment.model.config or {}) | {
            "model_type": "mixtral",
            "num_local_experts": count,
            "num_experts_per_tok": 1,
        }
        return replace(experiment, model=replace(experiment.model, config=config))

    never_less(with_experts(experts), with_experts(experts + more))


@quick
@given(sensible())
def test_checkpointing_trades_time_for_memory(experiment: Experiment) -> None:
    without = replace(experiment, train=replace(experiment.train, gradient_checkpointing=False))
    with_it = replace(experiment, train=replace(experiment.train, gradient_checkpointing=True))
    assert needs(with_it)[1] >= needs(without)[1]


@quick
@given(sensible())
def test_a_sound_experiment_gets_whole_numbers_that_agree(experiment: Experiment) -> None:
    report = check(experiment)
    told = report.as_dict()
    if not told["vram_breakdown"]:
        assert told["errors"]
        return
    assert told["estimated_vram_mb"] == told["vram_breakdown"]["total_with_buffer_gb"] * 1024
    assert told["estimated_vram_mb"] > told["vram_breakdown"]["peak_allocated_gb"] * 1024
    assert told["vram_breakdown"]["reused_gb"] >= 0
    assert told["time_per_step_ms"] > 0
    assert told["throughput"]["samples_per_second"] >= 0
    assert all(fix.fits is not False or not report.fits for fix in report.fixes)


# --- anything of the allowed types -------------------------------------------------------------

numbers = st.one_of(st.integers(), st.sampled_from([0, 1, -1, 10**9, 10**30]))
positive = st.integers(1, 64) | st.integers(min_value=1) | st.just(10**30)
floats = st.floats()
words = st.one_of(st.text(max_size=8), st.sampled_from(["text", "float32", "bf16", "cpu", "a100"]))
some_number = st.none() | numbers
some_truth = st.none() | st.booleans()
json_values = st.recursive(
    st.none() | st.booleans() | numbers | floats | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)
config_keys = st.sampled_from([*LLAMA_2_7B, *("n_embd", "n_layer", "text_config", "multi_query")])
configs = st.dictionaries(
    config_keys, json_values | st.integers(1, 5000) | st.sampled_from(sorted(FAMILIES))
)


def anything(kind: type[Any], **parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(kind, **parts)


models = anything(
    ModelFacts,
    name=words,
    dtype=words,
    modality=words,
    trainable=st.booleans(),
    quantized=st.booleans(),
    quantization=st.none() | words,
    is_gguf=st.booleans(),
    stage=words,
    context_length=some_number,
    params=some_number,
    params_b=st.none() | floats,
    hidden_size=some_number,
    num_layers=some_number,
    vocab_size=some_number,
    config=st.none() | configs,
    has_files=some_truth,
    has_tokenizer=some_truth,
    has_chat_template=some_truth,
)
datasets = anything(
    DatasetFacts,
    name=words,
    modality=words,
    num_samples=some_number,
    splits=st.lists(words, max_size=3).map(tuple),
    integrity_checked=st.booleans(),
    integrity_passed=st.booleans(),
    row_format=st.none() | words,
    mean_tokens=st.none() | floats,
    max_tokens=some_number,
)
trains = anything(
    TrainSpec,
    max_steps=st.none() | positive,
    num_train_epochs=st.floats(0, exclude_min=True, allow_infinity=False),
    global_batch_size=positive,
    grad_accum=positive,
    learning_rate=st.floats(0, allow_infinity=False),
    warmup_steps=positive,
    max_length=positive.map(lambda length: length + 1),
    dtype=st.sampled_from(DTYPES),
    optim=st.sampled_from(OPTIMIZERS),
    gradient_checkpointing=st.booleans(),
    attn_implementation=st.sampled_from(ATTENTION),
    checkpoint_interval=positive,
    save_total_limit=positive,
)
resources = anything(
    Resources,
    gpus=st.integers(-2, 3) | numbers,
    gpu_type=st.none() | words | st.sampled_from(known_cards()),
    strategy=words,
    mixed_precision=words,
    cards=st.lists(anything(CardFacts, gpu_type=words, memory_mb=some_number), max_size=3).map(
        tuple
    ),
    cpu_threads=numbers,
    host_memory_gb=st.none() | floats,
    disk_free_mb=some_number,
)
recipes = anything(
    RecipeFacts,
    name=words,
    method=methods() | words,
    supports_quantized=st.booleans(),
    modality=words,
)
loras = anything(
    LoraSpec,
    r=positive,
    target_modules=st.just("all-linear") | words | st.lists(words, max_size=3).map(tuple),
)


@quick
@given(
    anything(
        Experiment,
        model=models,
        dataset=datasets,
        recipe=recipes,
        train=trains,
        lora=loras,
        resources=resources,
        eval_suites=st.lists(words, max_size=2).map(tuple),
        export=st.lists(words | st.sampled_from(EXPORTS), max_size=3).map(tuple),
    )
)
def test_no_facts_of_the_allowed_types_raise(experiment: Experiment) -> None:
    report = check(experiment)
    assert report.ok is not bool(report.errors)
    json.dumps(report.as_dict(), allow_nan=False)


@quick
@given(models, datasets, resources.filter(lambda r: 0 <= r.gpus <= 1))
def test_no_model_data_or_machine_raises_under_sound_settings(
    model: ModelFacts, dataset: DatasetFacts, machine: Resources
) -> None:
    """Sound settings let the estimate itself see the oddest of facts."""
    experiment = Experiment(
        model=replace(model, modality="text", trainable=True, is_gguf=False, stage=""),
        dataset=replace(
            dataset,
            modality="text",
            splits=("train",),
            integrity_passed=True,
            num_samples=abs(dataset.num_samples or 1) + 1,
        ),
        recipe=RecipeFacts(name="r", method="full", supports_quantized=True),
        train=TrainSpec(global_batch_size=1, max_length=2, max_steps=None),
        resources=replace(machine, strategy="ddp", mixed_precision="no", gpu_type=None),
    )
    json.dumps(check(experiment).as_dict(), allow_nan=False)
