"""What is offered where there is room: only what is worth a person's while by its own estimate."""

from __future__ import annotations

from typing import Any

import pytest

from tests.training.preflight.experiments import FULL, QWEN_25_05B, make_experiment
from training.preflight import Fix, Lengths, check
from training.preflight.fixes import WORTHWHILE_SPEEDUP

SMALL: dict[str, Any] = {"config": QWEN_25_05B}
SHORT = Lengths.of([(30, 9000), (60, 900), (900, 100)])


def offered(**parts: Any) -> dict[str, Fix]:
    report = check(make_experiment(model=parts.pop("model", SMALL), **parts))
    assert report.fits, report.errors
    for fix in report.fixes:
        then = check(fix.experiment)
        gain = then.throughput["tokens_per_second"] / report.throughput["tokens_per_second"]
        assert gain > WORTHWHILE_SPEEDUP * 0.999, fix.title
        assert then.ok, then.errors
    return {fix.title: fix for fix in report.fixes}


MIXED, WEIGHTS = "Compute in bfloat16 with mixed precision", "Load the weights in bfloat16"


def test_float32_is_computed_in_bfloat16_and_that_changes_the_result() -> None:
    found = offered(train={"dtype": "float32", "tf32": False})
    assert found[MIXED].patch == {"resources": {"mixed_precision": "bf16"}}
    assert found[WEIGHTS].patch == {"train": {"dtype": "bfloat16"}}
    assert not found[MIXED].keeps_result
    assert not found[WEIGHTS].keeps_result


def test_weights_that_are_trained_stay_in_float32() -> None:
    found = offered(recipe=FULL, train={"dtype": "float32", "tf32": False})
    assert MIXED in found
    assert WEIGHTS not in found


@pytest.mark.parametrize(
    "parts",
    [
        {"train": {"dtype": "float32"}, "resources": {"gpu_type": "v100-32gb"}},
        {"train": {"dtype": "float32"}, "resources": {"mixed_precision": "bf16"}},
        {"train": {"dtype": "bfloat16"}},
        {
            "train": {"dtype": "float32"},
            "resources": {"gpus": 0, "gpu_type": None, "host_memory_gb": 64.0},
        },
    ],
)
def test_there_are_no_such_units_or_they_are_used_already(parts: dict[str, Any]) -> None:
    assert not {MIXED, WEIGHTS} & set(offered(**parts))


@pytest.mark.parametrize(("family", "has"), [("qwen2", True), ("mpt", False)])
def test_sdpa_in_place_of_eager(family: str, has: bool) -> None:
    found = offered(
        model={"config": QWEN_25_05B | {"model_type": family}},
        train={"attn_implementation": "eager", "max_length": 2048},
        dataset={"max_tokens": 2048, "mean_tokens": 1500.0},
        lora={"target_modules": "all-linear"},
    )
    assert ("Use sdpa attention" in found) is has


def packing(lengths: Lengths | None, **train: Any) -> dict[str, Any] | None:
    assert SHORT is not None
    known = lengths or SHORT
    found = offered(
        train={"max_length": 1024, "grad_accum": 1, **train},
        dataset={
            "lengths": lengths,
            "mean_tokens": known.mean,
            "max_tokens": known.longest,
            "num_samples": 10_000,
        },
    )
    return next((one.patch["train"] for title, one in found.items() if "short rows" in title), None)


def test_short_rows_are_packed_with_about_as_many_rows_in_a_step() -> None:
    patch = packing(SHORT, global_batch_size=64, attn_implementation="eager", grad_accum=4)
    assert patch == {
        "packing": True,
        "attn_implementation": "sdpa",
        "global_batch_size": 3,
        "grad_accum": 1,
    }


def test_what_is_not_worth_packing_is_left_alone() -> None:
    assert packing(Lengths.of([(1000, 10_000)])) is None
    assert packing(None, attn_implementation="eager") is None
