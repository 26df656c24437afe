"""What own runs teach: little by little, never wildly, and of their own kind first."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.preflight.experiments import FULL, SOUND, make_experiment
from training.preflight import NO_RUNS, Corrections, Kind, Run, check, kind_of
from training.preflight.corrections import FEWEST_RUNS, MEMORY_BOUND, TIME_BOUND

HERE = Kind("a100-80gb", "lora", "one")
ELSEWHERE = Kind("l4", "lora", "one")


def runs(kind: Kind, *ratios: float) -> Corrections:
    return Corrections(tuple(Run(kind, ratio, ratio) for ratio in ratios))


def test_without_runs_nothing_changes() -> None:
    told = NO_RUNS.of(SOUND)
    assert (told.memory.value, told.time.value) == (1.0, 1.0)
    assert check(SOUND, NO_RUNS) == check(SOUND)


def test_a_kind_is_a_card_a_method_and_a_strategy() -> None:
    assert kind_of(SOUND) == HERE
    assert kind_of(make_experiment(recipe=FULL)).method == "full"
    many = make_experiment(resources={"gpus": 4, "strategy": "zero2"})
    assert kind_of(many).strategy == "zero2"
    preferring = make_experiment(recipe={"method": "dpo"}, train={"use_peft": True})
    assert kind_of(preferring).method == "dpo-lora"
    assert kind_of(make_experiment(resources={"gpus": 0})).card == "cpu"


def test_runs_that_all_say_the_same_are_believed_more_the_more_they_are() -> None:
    few, many = (runs(HERE, *[1.2] * count).of_kind(HERE).memory for count in (3, 100))
    assert 1 < few.value < many.value < 1.2
    assert many.value == pytest.approx(1.2, rel=0.005)
    assert (few.runs, many.runs) == (3, 100)


def test_what_differs_by_chance_is_left_alone() -> None:
    told = runs(HERE, 0.9, 1.0, 1.15, 0.95, 1.04).of_kind(HERE).memory
    assert told.value == 1.0
    assert told.percent == pytest.approx(5.3, abs=0.1)  # of 0.95, the median one


def test_two_runs_are_no_rule() -> None:
    assert runs(HERE, 1.5, 1.5).of_kind(HERE).memory.value == 1.0


def test_one_run_out_of_line_moves_little() -> None:
    calm = runs(HERE, 1.1, 1.1, 1.1, 1.1, 1.1).of_kind(HERE).time.value
    disturbed = runs(HERE, 1.1, 1.1, 1.1, 1.1, 1.1, 50.0).of_kind(HERE).time.value
    assert disturbed == pytest.approx(calm, rel=0.02)


def test_other_methods_on_the_card_teach_where_the_own_has_no_runs() -> None:
    of_others = runs(Kind("a100-80gb", "full", "one"), 1.3, 1.3, 1.3, 1.3)
    assert of_others.of_kind(HERE).memory.value > 1.1
    own = Corrections((*of_others.runs, *runs(HERE, *[1.0] * 10).runs))
    assert own.of_kind(HERE).memory.value < of_others.of_kind(HERE).memory.value


def test_other_cards_teach_nothing() -> None:
    assert runs(ELSEWHERE, 1.3, 1.3, 1.3, 1.3).of_kind(HERE).memory.value == 1.0


def test_the_error_is_that_of_runs_it_has_not_learned_from() -> None:
    told = runs(HERE, *[1.25] * 98).of_kind(HERE).memory
    assert told.percent == pytest.approx(0, abs=0.5)
    torn = runs(HERE, *[0.5, 2.0] * 49).of_kind(HERE).memory
    assert torn.percent is not None
    assert torn.percent > 40
    assert runs(HERE, 1.0, 1.0).of_kind(HERE).memory.percent is None


def test_memory_and_time_are_learned_apart() -> None:
    only_time = Corrections(tuple(Run(HERE, None, 2.0) for _ in range(20)))
    told = only_time.of_kind(HERE)
    assert told.memory.value == 1.0
    assert told.time.value > 1.8


def test_a_run_of_the_very_settings_stands_whatever_others_did() -> None:
    told = runs(HERE, *[1.5] * 50).after(HERE, memory=0.9).of_kind(HERE)
    assert told.memory.value == 0.9
    assert told.time.value > 1.4  # it has not measured that


def test_the_answer_is_corrected_and_says_on_what_grounds() -> None:
    plain = check(SOUND)
    report = check(SOUND, runs(HERE, *[1.2] * 40))
    assert plain.vram_breakdown is not None
    assert report.vram_breakdown is not None
    assert report.vram_breakdown.peak_allocated_bytes == pytest.approx(
        1.2 * plain.vram_breakdown.peak_allocated_bytes, rel=0.01
    )
    assert report.time_per_step_ms == pytest.approx(1.2 * plain.time_per_step_ms, rel=0.01)
    told = report.as_dict()["confidence"]
    assert told["basis"] == "40 own runs"
    assert told["memory_percent"] < 1
    assert (told["memory_runs"], told["card"], told["method"]) == (40, "a100-80gb", "lora")


def test_the_range_of_the_total_narrows_with_what_is_known() -> None:
    def width(corrections: Corrections) -> float:
        low, high = check(SOUND, corrections).total_time_range_s or (0, 0)
        return high / low

    assert width(runs(HERE, *[1.2] * 40)) < width(runs(HERE, *[0.6, 1.7] * 20))
    assert width(runs(HERE, *[1.2] * 40)) < width(NO_RUNS)


def test_what_only_one_of_both_was_measured_for_is_named() -> None:
    only_time = Corrections(tuple(Run(HERE, None, 1.0) for _ in range(5)))
    basis = check(SOUND, only_time).as_dict()["confidence"]["basis"]
    assert basis.startswith("memory: published runs")
    assert basis.endswith("; time: 5 own runs")


def test_on_the_cpu_the_whole_process_is_corrected() -> None:
    on_cpu = make_experiment(resources={"gpus": 0}, train={"dtype": "float32"})
    plain = check(on_cpu).vram_breakdown
    told = check(on_cpu, runs(kind_of(on_cpu), *[1.5] * 40)).vram_breakdown
    assert plain is not None
    assert told is not None
    assert told.context_bytes == pytest.approx(1.5 * plain.context_bytes, rel=0.02)


def test_fixes_are_corrected_too() -> None:
    """A patch gives what it promises, also after runs have taught something."""
    large = make_experiment(
        recipe=FULL, train={"grad_accum": 1, "global_batch_size": 64, "optim": "adamw_torch_fused"}
    )
    known = runs(kind_of(large), *[1.3] * 30)
    best = check(large, known).fixes[0]
    patched = replace(large, train=replace(large.train, **best.patch["train"]))
    assert check(patched, known).estimated_vram_mb == best.estimated_vram_mb


ratios = st.floats(min_value=0, max_value=math.inf, allow_nan=False)
kinds = st.builds(
    Kind,
    st.sampled_from(["a100-80gb", "l4"]),
    st.sampled_from(["lora", "full"]),
    st.sampled_from(["one", "ddp"]),
)
some_runs = st.lists(
    st.builds(Run, kinds, st.none() | ratios, st.none() | ratios), max_size=30
).map(tuple)


@given(some_runs, kinds)
def test_whatever_runs_say_no_factor_leaves_its_bounds(found: tuple[Run, ...], kind: Kind) -> None:
    told = Corrections(found).of_kind(kind)
    assert 1 / MEMORY_BOUND <= told.memory.value <= MEMORY_BOUND
    assert 1 / TIME_BOUND <= told.time.value <= TIME_BOUND
    for factor in (told.memory, told.time):
        assert (factor.percent is None) == (factor.runs < FEWEST_RUNS)
        assert factor.percent is None or factor.percent >= 0


@given(some_runs, kinds)
def test_where_all_have_measured_more_nobody_is_told_less(
    found: tuple[Run, ...], kind: Kind
) -> None:
    """Of two sets of runs it need not hold: a factor may help one and not the other."""
    more, less = (
        tuple(Run(run.kind, *(ratio and side(ratio, 1.0) for ratio in run[1:])) for run in found)
        for side in (max, min)
    )
    above, below = (Corrections(these).of_kind(kind) for these in (more, less))
    assert above.memory.value >= 1 >= below.memory.value
    assert above.time.value >= 1 >= below.time.value
