"""What is offered goes: no fix brings an error, and each does what it says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.preflight.experiments import FULL, LLAMA_2_7B, make_experiment
from tests.training.preflight.test_properties import sensible
from training.preflight import CardFacts, Experiment, Lengths, Report, check, smaller
from training.preflight.fixes import Fix

CARDS = ("t4", "v100-16gb", "l4", "a100-40gb", "a100-80gb", "b200")


@st.composite
def anywhere(draw: st.DrawFn) -> Experiment:
    """On machines of any cards, with little or much memory and disk, and what is exported."""
    e = draw(sensible())
    gpus = draw(st.sampled_from([0, 1, 1, 2, 4]))
    there = draw(st.lists(st.sampled_from(CARDS), min_size=1, max_size=6))
    lengths = draw(
        st.none()
        | st.builds(
            lambda row, prompt: Lengths.of([(row, 1000)], begins=[(min(prompt, row), 1000)]),
            st.integers(10, 5000),
            st.integers(1, 5000),
        )
    )
    return replace(
        e,
        dataset=replace(
            e.dataset,
            lengths=lengths,
            mean_tokens=lengths.mean if lengths else None,
            max_tokens=lengths.longest if lengths else None,
        ),
        train=replace(e.train, global_batch_size=e.train.global_batch_size * max(gpus, 1)),
        resources=replace(
            e.resources,
            gpus=gpus,
            gpu_type=draw(st.sampled_from(there)),
            cards=tuple(CardFacts(gpu_type=one) for one in there) * draw(st.integers(1, 2)),
            strategy=draw(st.sampled_from(["ddp", "zero2", "zero3"])),
            host_memory_gb=draw(st.none() | st.sampled_from([8.0, 64.0, 512.0])),
            disk_free_mb=draw(st.none() | st.sampled_from([1_000, 100_000, 10_000_000])),
        ),
        export=draw(st.sampled_from([("safetensors",), ("merged",), ("onnx", "gguf")])),
    )


def patched(e: Experiment, patch: dict[str, dict[str, Any]]) -> Experiment:
    parts: dict[str, Any] = {
        name: replace(getattr(e, name), **values) for name, values in patch.items()
    }
    return replace(e, **parts)


def kinds(report: Report) -> set[str]:
    """Errors without their numbers: less may be missing, but nothing else."""
    return {"".join(c for c in one if c not in "0123456789.")[:60] for one in report.errors}


def does_what_it_says(e: Experiment, fix: Fix) -> Report:
    assert patched(e, fix.patch) == fix.experiment
    then = check(fix.experiment)
    assert then.vram_breakdown is not None, then.errors
    assert then.estimated_vram_mb == fix.estimated_vram_mb
    assert then.time_per_step_ms == fix.time_per_step_ms
    assert then.fits is fix.fits
    return then


@settings(deadline=None, max_examples=200)
@given(anywhere())
def test_no_fix_adds_an_error_and_each_does_what_it_says(e: Experiment) -> None:
    before = check(e)
    for fix in before.fixes:
        assert kinds(does_what_it_says(e, fix)) <= kinds(before), fix.title


@settings(deadline=None, max_examples=60)
@given(anywhere())
def test_nor_does_one_for_a_run_that_ran_out_of_memory(e: Experiment) -> None:
    before = check(e)
    if before.vram_breakdown is None:
        return
    for fix in smaller(e):
        assert kinds(does_what_it_says(e, fix)) <= kinds(before), fix.title


def offered(e: Experiment) -> dict[str, Fix]:
    report = check(e)
    assert report.vram_breakdown is not None, report.errors
    return {fix.title: fix for fix in report.fixes}


def one_card(gpu_type: str, memory_mb: int) -> dict[str, Any]:
    return {"gpu_type": gpu_type, "cards": (CardFacts(gpu_type=gpu_type, memory_mb=memory_mb),)}


def test_rows_that_are_compared_stay_together() -> None:
    """And with other company kto learns something else."""
    train = {"global_batch_size": 32, "grad_accum": 1, "max_length": 4096, "use_peft": True}
    e = make_experiment(
        recipe={"name": "KTO", "method": "kto"},
        dataset={"row_format": "unpaired_preference", "max_tokens": 4096},
        train=train,
        resources={"gpu_type": "l4"},
    )
    found = offered(e)
    assert found
    assert any("grad_accum" in fix.patch.get("train", {}) for fix in found.values())
    for fix in found.values():
        assert fix.experiment.micro_batch_size >= 2
        if "max_length" not in fix.patch.get("train", {}):
            assert fix.keeps_result is (fix.experiment.micro_batch_size == 32)


def test_rows_are_not_cut_where_nothing_would_be_left_to_learn() -> None:
    train = {"gradient_checkpointing": True, "grad_accum": 8, "max_length": 4096}
    dataset = {"max_tokens": 4096}
    roomy = check(make_experiment(train=train, dataset=dataset))
    tight: dict[str, Any] = {
        "train": train,
        "resources": one_card("a100-80gb", roomy.estimated_vram_mb - 200),
    }
    cut = "Cut rows at 2048 tokens"
    assert cut in offered(make_experiment(dataset=dataset, **tight))
    long = Lengths.of([(4096, 100)], begins=[(3000, 100)])
    assert cut not in offered(make_experiment(dataset=dataset | {"lengths": long}, **tight))


def test_bfloat16_is_not_offered_on_a_card_without_it() -> None:
    train = {"dtype": "float32", "grad_accum": 8}
    assert "Load the weights in bfloat16" in offered(
        make_experiment(train=train, resources=one_card("l4", 20_000))
    )
    found = offered(make_experiment(train=train, resources=one_card("t4", 20_000)))
    assert "Load the weights in bfloat16" not in found


def test_a_card_is_only_offered_where_it_can_do_the_same_and_there_are_enough() -> None:
    resources: dict[str, Any] = {"gpu_type": "l4", "gpus": 2}
    two = (CardFacts(gpu_type="l4"),) * 2

    def cards_offered(*more: str, **changes: Any) -> list[str]:
        cards = two + tuple(CardFacts(gpu_type=one, memory_mb=200_000) for one in more)
        e = make_experiment(
            recipe=FULL,
            train={"gradient_checkpointing": True, "grad_accum": 4, **changes},
            resources=resources | {"cards": cards},
        )
        return [title for title in offered(e) if title.startswith("Run on")]

    assert cards_offered("b200", "b200") == ["Run on b200"]
    assert cards_offered("b200") == []
    assert cards_offered("v100-32gb", "v100-32gb", dtype="bfloat16") == []


@pytest.mark.parametrize(("family", "has"), [("llama", True), ("mpt", False)])
def test_sdpa_is_offered_where_the_family_has_it(family: str, has: bool) -> None:
    parts: dict[str, Any] = {
        "model": {"config": LLAMA_2_7B | {"model_type": family}},
        "train": {"grad_accum": 8, "max_length": 4096, "attn_implementation": "eager"},
        "dataset": {"max_tokens": 4096},
        "lora": {"target_modules": "all-linear"},
    }
    roomy = check(make_experiment(**parts))
    found = offered(
        make_experiment(**parts, resources=one_card("a100-80gb", roomy.estimated_vram_mb - 200))
    )
    assert found
    assert ("Use sdpa attention" in found) is has


@pytest.mark.parametrize(("host_memory_gb", "has"), [(512.0, True), (20.0, False)])
def test_a_model_is_shared_out_where_the_machine_has_room_to_load_it(
    host_memory_gb: float, has: bool
) -> None:
    e = make_experiment(
        recipe=FULL,
        train={"gradient_checkpointing": True, "grad_accum": 1, "global_batch_size": 8},
        resources={"gpus": 8, "gpu_type": "a100-40gb", "host_memory_gb": host_memory_gb},
    )
    assert any("Share the model out" in title for title in offered(e)) is has


@pytest.mark.parametrize(("host_memory_gb", "has"), [(512.0, True), (8.0, False)])
def test_an_adapter_is_offered_where_there_is_room_to_merge_it(
    host_memory_gb: float, has: bool
) -> None:
    e = make_experiment(
        recipe=FULL,
        resources={"gpu_type": "l4", "host_memory_gb": host_memory_gb},
        export=("merged",),
    )
    assert any("LoRA" in title for title in offered(e)) is has


def test_what_still_lacks_disk_but_less_of_it_is_offered() -> None:
    e = make_experiment(recipe=FULL, resources={"gpu_type": "l4", "disk_free_mb": 10})
    assert any("LoRA" in title for title in offered(e))
