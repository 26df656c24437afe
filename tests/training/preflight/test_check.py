"""The answer as a whole: its form, its numbers, its fixes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.training.preflight.experiments import FULL, SOUND, make_experiment
from training.preflight import CardFacts, check
from training.preflight.fixes import Fix

CONTRACT_KEYS = {
    "ok",
    "warnings",
    "errors",
    "estimated_vram_mb",
    "vram_breakdown",
    "time_per_step_ms",
    "throughput",
}
ADDED_KEYS = {
    "headroom_mb",
    "fits",
    "bottleneck",
    "total_time_s",
    "total_time_range_s",
    "time_breakdown_s",
    "rows",
    "disk_required_mb",
    "host_memory_required_mb",
    "download_mb",
    "confidence",
    "fixes",
}
BREAKDOWN_KEYS = {
    "model_params_gb",
    "activations_gb",
    "gradients_gb",
    "optimizer_gb",
    "total_with_buffer_gb",
    "peak_allocated_gb",
    "cuda_context_gb",
    "buffer_gb",
}


def test_the_answer_has_the_keys_of_the_contract_and_ours() -> None:
    told = check(SOUND).as_dict()
    assert set(told) == CONTRACT_KEYS | ADDED_KEYS
    assert set(told["vram_breakdown"]) >= BREAKDOWN_KEYS
    assert set(told["throughput"]) == {"samples_per_second", "tokens_per_second"}
    assert json.loads(json.dumps(told)) == told


def test_an_incompatible_experiment_is_answered_as_in_the_contract() -> None:
    told = check(make_experiment(dataset={"integrity_passed": False})).as_dict()
    assert {key: told[key] for key in CONTRACT_KEYS} == {
        "ok": False,
        "warnings": [],
        "errors": [
            "ERROR: Dataset failed integrity check. Please review and fix dataset issues before "
            "training."
        ],
        "estimated_vram_mb": 0,
        "vram_breakdown": {},
        "time_per_step_ms": 0,
        "throughput": {},
    }


@pytest.mark.parametrize(
    "shortage",
    [
        {"model": {"has_files": False}},
        {"resources": {"cards": (CardFacts(gpu_type="cpu"),)}},
        {"resources": {"disk_free_mb": 1}},
    ],
    ids=["files", "cards", "disk"],
)
def test_what_is_only_missing_here_keeps_its_numbers(shortage: dict[str, Any]) -> None:
    report = check(make_experiment(**shortage))
    assert not report.ok
    assert report.estimated_vram_mb == check(SOUND).estimated_vram_mb


def test_headroom_is_what_the_card_has_left() -> None:
    cards = (CardFacts(gpu_type="a100-80gb", memory_mb=81_000),)
    report = check(make_experiment(resources={"cards": cards}))
    assert report.headroom_mb == 81_000 - report.estimated_vram_mb
    assert report.fits


def test_just_enough_fits_and_one_megabyte_less_does_not() -> None:
    needed = check(SOUND).estimated_vram_mb
    for memory_mb, fits in ((needed, True), (needed - 1, False)):
        cards = (CardFacts(gpu_type="a100-80gb", memory_mb=memory_mb),)
        report = check(make_experiment(resources={"cards": cards}))
        assert report.fits is fits
        assert report.ok is fits


def test_memory_nobody_knows_is_neither_enough_nor_too_little() -> None:
    report = check(make_experiment(resources={"gpu_type": None}))
    assert report.fits is None
    assert report.headroom_mb is None
    assert report.estimated_vram_mb == check(SOUND).estimated_vram_mb


def test_fixes_come_with_a_patch_that_gives_what_they_promise() -> None:
    too_large = make_experiment(
        recipe=FULL, train={"grad_accum": 1, "global_batch_size": 64, "optim": "adamw_torch_fused"}
    )
    report = check(too_large)
    assert report.fits is False
    best = report.fixes[0]
    assert best.keeps_result
    assert best.fits
    patched = check(
        make_experiment(
            recipe=FULL,
            train={"grad_accum": 1, "global_batch_size": 64, "optim": "adamw_torch_fused"}
            | best.patch["train"],
        )
    )
    assert patched.ok, patched.errors
    assert patched.estimated_vram_mb == best.estimated_vram_mb
    assert patched.time_per_step_ms == best.time_per_step_ms


def test_what_changes_the_result_is_offered_last() -> None:
    report = check(make_experiment(recipe=FULL, train={"grad_accum": 1, "global_batch_size": 64}))
    kept = [fix.keeps_result for fix in report.fixes]
    assert kept == sorted(kept, reverse=True)


def test_where_nothing_else_helps_a_lighter_method_is_offered() -> None:
    report = check(make_experiment(recipe=FULL, resources={"gpu_type": "l4"}))
    assert next(fix.patch.get("recipe") for fix in report.fixes if fix.fits) in (
        {"method": "lora"},
        {"method": "qlora"},
    )


def test_another_card_of_the_partition_is_offered() -> None:
    cards = (
        CardFacts(gpu_type="l4", memory_mb=22_500),
        CardFacts(gpu_type="a100-80gb", memory_mb=81_000),
    )
    report = check(
        make_experiment(
            recipe=FULL,
            resources={"gpu_type": "l4", "cards": cards},
            train={"gradient_checkpointing": True, "optim": "adamw_torch_fused"},
        )
    )
    assert {"resources": {"gpu_type": "a100-80gb"}} in [fix.patch for fix in report.fixes]


def test_the_fused_optimizer_is_offered_where_its_temporary_is_too_much() -> None:
    cards = (CardFacts(gpu_type="a100-80gb", memory_mb=65_000),)
    report = check(
        make_experiment(
            recipe=FULL,
            train={"gradient_checkpointing": True},
            resources={"cards": cards},
        )
    )
    assert report.fits is False
    assert {"train": {"optim": "adamw_torch_fused"}} in [fix.patch for fix in report.fixes]


def fixes_on(memory_mb: int, **parts: Any) -> dict[str, Fix]:
    """What is offered on a card of so much memory, by title."""
    resources = {"cards": (CardFacts(gpu_type="a100-80gb", memory_mb=memory_mb),)}
    report = check(make_experiment(resources=resources, **parts))
    assert report.fits is False
    assert all(fix.fits for fix in report.fixes)
    return {fix.title: fix for fix in report.fixes}


def test_states_in_eight_bits_are_offered_and_change_the_result() -> None:
    train = {"gradient_checkpointing": True, "optim": "adamw_torch_fused", "grad_accum": 8}
    fix = fixes_on(54_000, recipe=FULL, train=train)["Hold the optimizer's states in 8 bits"]
    assert fix.patch == {"train": {"optim": "adamw_8bit"}}
    assert not fix.keeps_result


def test_states_in_eight_bits_are_not_offered_where_the_model_is_shared_out() -> None:
    train = {"gradient_checkpointing": True, "optim": "adamw_torch_fused", "grad_accum": 1}
    parts: dict[str, Any] = {"recipe": FULL, "train": train}
    shared = {"gpus": 2, "gpu_type": "l4", "strategy": "zero3"}
    report = check(make_experiment(resources=shared, **parts))
    assert report.fits is False
    assert not any("adamw_8bit" in str(fix.patch) for fix in report.fixes)


@pytest.mark.parametrize(
    ("title", "patch", "changes"),
    [
        ("Cut rows at 2048 tokens", {"max_length": 2048}, {"gradient_checkpointing": True}),
        ("Use sdpa attention", {"attn_implementation": "sdpa"}, {"attn_implementation": "eager"}),
        ("Load the weights in bfloat16", {"dtype": "bfloat16"}, {"dtype": "float32"}),
    ],
)
def test_what_needs_less_is_offered_where_a_little_is_missing(
    title: str, patch: dict[str, Any], changes: dict[str, Any]
) -> None:
    parts: dict[str, Any] = {
        "train": {"grad_accum": 8, "max_length": 4096, **changes},
        "dataset": {"max_tokens": 4096},
    }
    roomy = check(make_experiment(**parts))
    assert fixes_on(roomy.estimated_vram_mb - 200, **parts)[title].patch == {"train": patch}


def test_larger_micro_batches_are_offered_where_there_is_room() -> None:
    report = check(make_experiment(train={"grad_accum": 8, "max_length": 128}))
    assert report.fits
    assert {"train": {"grad_accum": 1}} in [fix.patch for fix in report.fixes]


def test_a_roomy_card_is_told_what_would_be_faster() -> None:
    report = check(make_experiment(train={"gradient_checkpointing": True}))
    assert report.fits
    faster = next(fix for fix in report.fixes if "gradient_checkpointing" in fix.patch["train"])
    assert faster.patch == {"train": {"gradient_checkpointing": False}}
    assert faster.time_per_step_ms < report.time_per_step_ms


def test_disk_counts_checkpoints_at_their_most_and_the_export() -> None:
    parameters = 6_738_415_616
    report = check(
        make_experiment(recipe=FULL, train={"save_total_limit": 2, "checkpoint_interval": 100})
    )
    checkpoint = 6 * parameters + 8 * 2**20
    assert report.disk_required_mb == -(-(3 * checkpoint + 2 * parameters) // 2**20)


def test_disk_counts_each_export_at_its_own_size() -> None:
    parameters = 6_738_415_616

    def needs_mb(*kinds: str, **parts: Any) -> int:
        return check(make_experiment(export=kinds, **parts)).disk_required_mb

    adapter = needs_mb("safetensors")
    assert needs_mb() == adapter  # always there
    sizes = {"merged": 2 * parameters, "onnx": 4 * parameters, "gguf": 3.0625 * parameters}
    for kind, size in sizes.items():
        assert needs_mb("safetensors", kind) - adapter == pytest.approx(size / 2**20, abs=1)
    assert needs_mb("merged", recipe=FULL) == needs_mb("safetensors", recipe=FULL)


def test_merged_says_nothing_new_where_no_adapter_is_trained() -> None:
    report = check(make_experiment(recipe=FULL, export=("merged",)))
    (told,) = (one for one in report.warnings if "merged" in one)
    assert told == (
        "Export 'merged' is the same as 'safetensors' here, as recipe 'Full Fine-Tune' trains the "
        "model itself and no adapter. It is not made a second time."
    )


def test_a_short_run_needs_no_room_for_checkpoints_it_never_makes() -> None:
    short = check(make_experiment(train={"max_steps": 10, "checkpoint_interval": 100}))
    assert short.disk_required_mb < check(SOUND).disk_required_mb
