"""What a run spends its time on, beside its steps."""

from __future__ import annotations

from typing import Any

import pytest

from tests.training.preflight.experiments import FULL, make_experiment
from training.preflight import Experiment, Lengths, check
from training.preflight.duration import DISK_BYTES_PER_S, TOKENS_PER_S, evaluations, saves
from training.preflight.estimate import Estimate, estimate

PARTS = {"start", "data", "load", "reference", "training", "evaluation", "checkpoints", "export"}
ROWS = Lengths.of([(100, 900), (300, 100)])


def parts_of(experiment: Experiment) -> dict[str, float]:
    return check(experiment).time_breakdown_s


def estimated(experiment: Experiment) -> Estimate:
    found = estimate(experiment)
    assert found is not None
    return found


def test_the_parts_are_the_total_and_lie_within_its_range() -> None:
    report = check(make_experiment(dataset={"lengths": ROWS, "held_out_rows": 100}))
    assert set(report.time_breakdown_s) == PARTS
    assert report.total_time_s == pytest.approx(sum(report.time_breakdown_s.values()))
    assert report.time_breakdown_s["training"] == pytest.approx(report.time_per_step_ms)  # 1000
    assert report.total_time_range_s is not None
    assert report.total_time_s is not None
    low, high = report.total_time_range_s
    assert 0 < low < report.total_time_s < high
    told = report.as_dict()["time_breakdown_s"]
    assert sum(told.values()) == pytest.approx(report.total_time_s, abs=0.5)


def test_without_steps_there_are_no_parts() -> None:
    report = check(make_experiment(train={"max_steps": None}, dataset={"num_samples": None}))
    assert report.time_breakdown_s == {}


@pytest.mark.parametrize(
    ("steps", "interval", "times"),
    [(1000, None, 2), (1000, 100, 11), (1000, 1000, 2), (1000, 999, 3), (1, 1, 2), (10, 3, 5)],
)
def test_it_is_measured_before_after_and_at_every_interval(
    steps: int, interval: int | None, times: int
) -> None:
    experiment = make_experiment(train={"max_steps": steps}, eval_interval=interval)
    assert evaluations(experiment, steps) == times


def test_twice_the_held_out_rows_take_twice_the_time_and_none_take_none() -> None:
    def seconds(rows: int | None) -> float:
        held_out = {"held_out_rows": rows, "lengths": ROWS, "held_out": ROWS}
        return parts_of(make_experiment(dataset=held_out, eval_interval=100))["evaluation"]

    assert seconds(None) == 0
    assert seconds(1600) == pytest.approx(2 * seconds(800))
    assert seconds(800) > 0


def test_a_forward_pass_is_a_third_of_a_step_or_a_little_more() -> None:
    """8 rows at once, as in training, each as long: what is left out is the way back."""
    alike = Lengths.of([(512, 1000)])
    held_out = {"held_out_rows": 800, "lengths": alike, "held_out": alike}
    train = {"grad_accum": 1, "optim": "sgd"}
    found = check(make_experiment(recipe=FULL, dataset=held_out, train=train))
    once = found.time_breakdown_s["evaluation"] / 2
    assert once == pytest.approx(100 * found.time_per_step_ms / 1000 / 3, rel=0.05)


def test_questions_are_answered_token_by_token() -> None:
    rows = {"held_out_rows": 400, "held_out": ROWS}
    asked = make_experiment(dataset=rows, eval_suites=("exact_match",))
    assert parts_of(asked)["evaluation"] > parts_of(make_experiment(dataset=rows))["evaluation"]


@pytest.mark.parametrize(("steps", "times"), [(1, 1), (99, 1), (100, 1), (101, 2), (1000, 10)])
def test_checkpoints_are_written_at_every_interval_and_at_the_end(steps: int, times: int) -> None:
    experiment = make_experiment(train={"max_steps": steps, "checkpoint_interval": 100})
    assert saves(experiment, steps) == times
    checkpoint = 6 * 6_738_415_616 + 8 * 2**20
    full = make_experiment(recipe=FULL, train={"max_steps": steps, "checkpoint_interval": 100})
    expected = times * checkpoint / DISK_BYTES_PER_S
    assert parts_of(full)["checkpoints"] == pytest.approx(expected)


def test_all_tokens_are_made_once_also_those_that_are_cut() -> None:
    rows = {"lengths": ROWS}
    expected = (900 * 100 + 100 * 300) / TOKENS_PER_S
    for length in (64, 512):
        experiment = make_experiment(dataset=rows, train={"max_length": length})
        assert parts_of(experiment)["data"] == pytest.approx(expected)


def test_more_exports_take_longer() -> None:
    def seconds(*kinds: str) -> float:
        return parts_of(make_experiment(export=kinds))["export"]

    assert seconds("safetensors") < seconds("merged") < seconds("merged", "onnx")
    assert seconds("merged") < seconds("merged", "gguf")


def test_only_dpo_and_kto_ask_the_base_model_first() -> None:
    def seconds(method: str, **train: Any) -> float:
        return parts_of(
            make_experiment(
                recipe={"method": method},
                dataset={"row_format": "preference", "lengths": ROWS},
                train={"use_peft": True, "max_steps": 100, **train},
            )
        )["reference"]

    assert seconds("dpo") > 0
    assert seconds("kto") > 0
    assert seconds("orpo") == 0
    assert seconds("dpo", max_steps=200) == pytest.approx(2 * seconds("dpo"))


def test_lengths_that_were_guessed_leave_a_wider_range() -> None:
    def width(basis: Any) -> float:
        lengths = Lengths.of([(100, 900), (300, 100)], basis=basis, longest=300)
        report = check(make_experiment(dataset={"lengths": lengths}))
        assert report.total_time_range_s is not None
        low, high = report.total_time_range_s
        return high / low

    assert width("counted") < width("sampled") < width("guessed")


# --- the machine around the cards, and the way to it ---------------------------------------------


def test_a_model_that_will_be_sharded_is_read_once_and_put_together_twice() -> None:
    weights = 2 * 6_738_415_616

    def host_mb(**resources: Any) -> int:
        experiment = make_experiment(
            recipe=FULL, train={"grad_accum": 1}, resources={"gpus": 4, **resources}
        )
        return estimated(experiment).host.total_mb

    processes = 4 * 1536
    assert host_mb() == processes
    assert host_mb(strategy="zero3") == pytest.approx(processes + 2 * weights / 2**20, abs=1)


def test_on_the_cpu_the_host_is_the_device() -> None:
    report = check(make_experiment(resources={"gpus": 0, "gpu_type": None}))
    assert report.host_memory_required_mb == report.estimated_vram_mb


def test_an_export_needs_the_host_once_the_run_is_over() -> None:
    alone = check(make_experiment()).host_memory_required_mb
    with_graph = check(make_experiment(export=("onnx",))).host_memory_required_mb
    assert with_graph == pytest.approx(alone + 8 * 6_738_415_616 / 2**20 + 256, abs=1)


@pytest.mark.parametrize(
    ("parts", "megabytes"),
    [
        ({}, 0),
        ({"model": {"has_files": True, "size_bytes": 10**9}}, 0),
        ({"model": {"has_files": None}}, 0),
        ({"model": {"has_files": False}}, 2 * 6_738_415_616 / 2**20),
        ({"model": {"has_files": False, "dtype": "float32"}}, 4 * 6_738_415_616 / 2**20),
        ({"model": {"has_files": False, "dtype": "?"}}, 2 * 6_738_415_616 / 2**20),
        ({"model": {"has_files": False, "size_bytes": 5 * 2**20}}, 5),
        ({"dataset": {"has_files": False, "size_bytes": 3 * 2**20}}, 3),
        ({"dataset": {"has_files": False}}, 0),
    ],
)
def test_what_is_not_here_has_to_be_fetched(parts: dict[str, Any], megabytes: float) -> None:
    told = check(make_experiment(**parts)).as_dict()["download_mb"]
    assert told == pytest.approx(megabytes, abs=1)
