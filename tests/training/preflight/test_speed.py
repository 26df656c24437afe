"""Step time, steps, and the range around the total."""

from __future__ import annotations

import pytest

from tests.training.preflight.experiments import FULL, LLAMA_2_7B, SOUND, make_experiment
from training.preflight import ModelFacts, check
from training.preflight.batches import mean_row_tokens, padded_row_tokens
from training.preflight.estimate import estimate
from training.preflight.shape import shape_of
from training.preflight.speed import communication_seconds, flops_per_token

IN_LAYERS = 32 * (4 * 4096 * 4096 + 3 * 4096 * 11008)
HEAD = 32000 * 4096


def test_the_arithmetic_of_a_token_worked_out_by_hand() -> None:
    shape = shape_of(ModelFacts(name="m", config=LLAMA_2_7B))
    assert shape is not None
    attention = 2 * 32 * 4096 * 512
    full = make_experiment(recipe=FULL)
    assert flops_per_token(full, shape, 512) == 6 * (IN_LAYERS + HEAD) + 3 * attention
    assert flops_per_token(SOUND, shape, 512) == 4 * (IN_LAYERS + HEAD) + 3 * attention
    again = make_experiment(train={"gradient_checkpointing": True})
    assert flops_per_token(again, shape, 512) == (
        4 * (IN_LAYERS + HEAD) + 2 * IN_LAYERS + 4 * attention
    )


N = 6_738_415_616  # Llama-2-7B


@pytest.mark.parametrize(
    ("strategy", "gpus", "accumulation", "passed_bytes"),
    [
        ("ddp", 1, 1, 0),
        ("ddp", 8, 1, 2 * 2 * N),  # gradients in bfloat16, twice over the ring
        ("ddp", 8, 4, 2 * 2 * N / 4),  # ... once in four micro batches
        ("zero1", 8, 4, (2 * N + 2 * N) / 4),  # weights gathered, gradients summed to shares
        ("zero2", 8, 4, 2 * N / 4 + 2 * N),  # ... these after every micro batch
        ("zero3", 8, 4, 2 * 2 * N + 2 * N),  # weights forward and backward
        ("fsdp", 8, 4, 2 * 2 * N + 2 * N),
    ],
)
def test_what_passes_between_the_cards_worked_out_by_hand(
    strategy: str, gpus: int, accumulation: int, passed_bytes: float
) -> None:
    e = make_experiment(
        recipe=FULL,
        train={"grad_accum": accumulation, "global_batch_size": 32},
        resources={"gpus": gpus, "strategy": strategy, "gpu_type": "h100-sxm"},
    )
    needs = estimate(e)
    assert needs is not None
    link = 450 * 1e9 * 0.7  # NVLink of an H100, of which collectives reach seven tenths
    seconds = communication_seconds(e, needs.shape, needs.card, needs.memory)
    assert seconds == pytest.approx(passed_bytes * (gpus - 1) / gpus / link)


def test_a_slower_link_and_a_network_take_longer() -> None:
    def seconds(gpus: int, card: str) -> float:
        e = make_experiment(
            recipe=FULL,
            train={"grad_accum": 1, "global_batch_size": gpus},
            resources={"gpus": gpus, "strategy": "ddp", "gpu_type": card},
        )
        needs = estimate(e)
        assert needs is not None
        return communication_seconds(e, needs.shape, needs.card, needs.memory)

    over_the_bus = seconds(2, "l4")
    assert over_the_bus > 5 * seconds(2, "h100-sxm")
    assert seconds(16, "h100-sxm") / seconds(8, "h100-sxm") == pytest.approx(
        (15 / 16) / (7 / 8) * 3 / 2
    )


def test_throughput_follows_from_the_step() -> None:
    report = check(SOUND)
    per_second = 8 / (report.time_per_step_ms / 1000)
    assert report.throughput["samples_per_second"] == pytest.approx(per_second, rel=1e-3)
    assert report.throughput["tokens_per_second"] == pytest.approx(200 * per_second, rel=1e-3)


def test_max_steps_win_over_epochs_and_epochs_count_the_last_batch() -> None:
    assert SOUND.steps == 1000
    by_epochs = make_experiment(
        train={"max_steps": None, "num_train_epochs": 2.0}, dataset={"num_samples": 50_001}
    )
    assert by_epochs.steps == 12_501


def test_the_total_lies_within_its_range() -> None:
    for experiment in (SOUND, make_experiment(dataset={"mean_tokens": None})):
        report = check(experiment)
        assert report.total_time_s is not None
        assert report.total_time_range_s is not None
        low, high = report.total_time_range_s
        assert 0 < low < report.total_time_s < high
        assert report.total_time_s > 1000 * report.time_per_step_ms / 1000


def test_unknown_lengths_widen_the_range() -> None:
    def width(experiment: object) -> float:
        report = check(experiment)  # type: ignore[arg-type]
        assert report.total_time_range_s is not None
        low, high = report.total_time_range_s
        return high / low

    unknown = make_experiment(dataset={"mean_tokens": None, "max_tokens": None})
    assert width(unknown) > width(SOUND)


def test_without_steps_or_rows_there_is_no_total() -> None:
    report = check(make_experiment(train={"max_steps": None}, dataset={"num_samples": None}))
    assert report.ok
    assert report.time_per_step_ms > 0
    assert report.total_time_s is None
    assert report.total_time_range_s is None


def test_padding_makes_rows_longer_but_never_longer_than_the_longest() -> None:
    single = make_experiment(train={"global_batch_size": 2, "grad_accum": 2})
    assert padded_row_tokens(single, 200.0) == 200.0
    pair = make_experiment(train={"global_batch_size": 2, "grad_accum": 1})
    assert padded_row_tokens(pair, 200.0) == 200.0 * (1 + 0.5 * 0.5)
    assert padded_row_tokens(pair, 500.0) == 512.0


def test_rows_of_unknown_length_are_taken_to_be_half_as_long_as_they_may_be() -> None:
    unknown = make_experiment(dataset={"mean_tokens": None, "max_tokens": None})
    assert mean_row_tokens(unknown) == 256


def test_the_bottleneck_is_named() -> None:
    tiny = {
        "config": LLAMA_2_7B
        | {"hidden_size": 128, "intermediate_size": 344, "num_attention_heads": 2}
    }
    assert check(make_experiment(model=tiny)).bottleneck == "kernel launches"
    long_rows = make_experiment(
        recipe=FULL,
        train={"max_length": 4096, "gradient_checkpointing": True},
        dataset={"mean_tokens": 4096.0, "max_tokens": 4096},
    )
    assert check(long_rows).bottleneck == "compute"


def test_the_cpu_is_slower_than_any_card_and_two_threads_faster_than_one() -> None:
    def step_ms(**resources: object) -> float:
        return check(make_experiment(resources=resources)).time_per_step_ms

    one = step_ms(gpus=0, gpu_type=None, cpu_threads=1)
    assert one > step_ms(gpus=0, gpu_type=None, cpu_threads=2) > step_ms(gpu_type="l4")
    assert step_ms(gpu_type="l4") > step_ms(gpu_type="h100")
