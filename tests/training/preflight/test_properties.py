"""What must hold for every experiment, not only for those somebody thought of."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.preflight.experiments import LLAMA_2_7B
from training.preflight import (
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
from training.preflight.hardware import MIB, card_for
from training.preflight.losses import LOSSES
from training.preflight.optimizers import OPTIMIZERS as MEMORY_OF_OPTIMIZERS
from training.trainer.spec import DTYPES, METHODS, OPTIMIZERS

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


@quick
@given(sensible())
def test_the_same_is_said_in_every_unit(experiment: Experiment) -> None:
    """MiB, GiB and bytes; milliseconds and seconds; a step, a row and the whole run."""
    report, e = check(experiment), experiment
    memory = report.vram_breakdown
    if memory is None:
        return
    told = report.as_dict()["vram_breakdown"]
    of_torch = told["peak_allocated_gb"] + told["cuda_context_gb"] + told["buffer_gb"]
    assert told["total_with_buffer_gb"] == pytest.approx(of_torch, abs=0.002)
    held = ("model_params_gb", "activations_gb", "gradients_gb", "optimizer_gb")
    peak = sum(told[name] for name in held) - told["reused_gb"]
    assert told["peak_allocated_gb"] == pytest.approx(peak, abs=0.001)
    capacity = card_for(e.resources).memory_bytes
    if capacity is None:
        assert report.headroom_mb is None
    else:
        assert report.headroom_mb == capacity // MIB - report.estimated_vram_mb
    step_s = report.time_per_step_ms / 1000
    assert report.time_breakdown_s["training"] == pytest.approx(100 * step_s)
    assert report.total_time_s == pytest.approx(sum(report.time_breakdown_s.values()))
    rows_per_second = report.throughput["samples_per_second"]
    # Three digits are told.
    assert rows_per_second == pytest.approx(e.train.global_batch_size / step_s, rel=0.06, abs=6e-4)
    assert report.exports_bytes <= report.disk_required_mb * MIB
