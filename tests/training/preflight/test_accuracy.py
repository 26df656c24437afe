"""Against runs that others have published, whose sources stand beside the data."""

from __future__ import annotations

from functools import cache
from statistics import median

import pytest

from benchmarks.preflight_accuracy.blind import (
    GROUPS,
    memory_left_out,
    pooled,
    without_their_rules,
)
from benchmarks.preflight_accuracy.measure import (
    Errors,
    Run,
    confusion,
    memory_error,
    runs_of,
    speed_error,
)
from benchmarks.preflight_accuracy.rows import DATA, TRANSFORMERS, completed, config_of, read
from benchmarks.preflight_accuracy.tables import fit_labels
from training.preflight.calibration import PUBLISHED, Calibration
from training.preflight.estimate import estimate
from training.preflight.verdict import ON_A_CARD


@cache
def memory_runs() -> tuple[Run, ...]:
    return tuple(runs_of(read(DATA / "memory.json"))[0])


@cache
def speed_runs() -> tuple[Run, ...]:
    rows = completed(read(DATA / "throughput.json"), read(DATA / "memory.json"))
    return tuple(runs_of(rows)[0])


def memory_errors(*sources: str) -> Errors:
    found = [memory_error(run) for run in memory_runs() if run.source in sources]
    return Errors(values=tuple(error for error in found if error is not None))


def test_every_row_of_memory_is_judged() -> None:
    assert len(memory_runs()) == 221
    assert runs_of(read(DATA / "memory.json"))[1] == []


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("meta-llama/Meta-Llama-3-70B-GPTQ", 80),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", 32),
        ("mistral-7b", 32),
        ("Qwen/Qwen-14B-Chat-Int4", 40),
        ("LLAMA2-13B", 40),
        ("google/gemma-2-9b-it", 42),
    ],
)
def test_a_model_is_found_by_its_usual_names(name: str, layers: int) -> None:
    config = config_of({"model": name})
    assert config is not None
    assert config["num_hidden_layers"] == layers


def test_memory_of_transformers_with_known_settings() -> None:
    errors = memory_errors(*TRANSFORMERS)
    assert errors.count == 137
    assert errors.median <= 0.01
    assert errors.p90 <= 0.02
    assert abs(errors.worst) <= 0.05


@pytest.mark.parametrize(
    ("source", "median", "p90"),
    [
        ("litgpt-config-hub", 0.04, 0.08),
        ("torchtune", 0.05, 0.08),
        ("qwen-readme", 0.08, 0.18),
        ("hf-docs", 0.03, 0.06),
        ("torchtitan", 0.07, 0.10),
    ],
)
def test_memory_of_other_software(source: str, median: float, p90: float) -> None:
    errors = memory_errors(source)
    assert errors.median <= median
    assert errors.p90 <= p90


def test_what_is_said_to_fit_hardly_ever_runs_out_of_memory() -> None:
    found = confusion([*memory_runs(), *fit_labels(list(speed_runs()))])
    assert found.false_fits <= 0.03
    assert found.not_ran_out >= 20
    assert found.false_refusals <= 0.02


def speed_median() -> float:
    errors = [speed_error(run) for run in speed_runs()]
    sizes = [abs(error) for error in errors if error is not None]
    assert len(sizes) > 300
    return median(sizes)


def test_speed() -> None:
    assert speed_median() <= 0.04


def test_a_model_that_no_rule_was_read_off() -> None:
    errors = pooled(memory_left_out(memory_runs(), GROUPS["model"]))
    assert errors.count == 197
    assert errors.median <= 0.02
    assert errors.p90 <= 0.12


def test_a_source_takes_the_rules_along_that_only_it_has_taught() -> None:
    blind = without_their_rules(memory_runs(), "fms-acceleration", GROUPS["source"])
    stacks = [run.experiment.stack for run in blind]
    assert {stack.loss for stack in stacks} == {"transformers", "fused_linear"}
    assert not any(stack.fsdp1 or stack.prepares_4bit == "norms" for stack in stacks)
    docs = without_their_rules(memory_runs(), "hf-docs", GROUPS["source"])
    assert {run.calibration.reserved_share_of_all for run in docs} == {PUBLISHED.reserved_share}
    tune = without_their_rules(memory_runs(), "torchtune", GROUPS["source"])
    assert all(run.calibration == PUBLISHED for run in tune)
    errors = pooled(memory_left_out(memory_runs(), GROUPS["source"]))
    assert errors.median <= 0.08
    assert errors.median * 100 <= ON_A_CARD.memory_percent


def test_what_people_are_told_is_not_better_than_what_was_measured() -> None:
    """Of memory by the sources that no rule was read off."""
    others = {run.source for run in memory_runs()} - set(TRANSFORMERS)
    assert memory_errors(*others).count == 60
    assert memory_errors(*others).median * 100 <= ON_A_CARD.memory_percent
    # of time: that of sources which the constants have not seen, which takes a minute to fit
    assert ON_A_CARD.time_percent > 100 * speed_median()


def test_a_calibration_of_ones_own_is_an_argument() -> None:
    run = memory_runs()[0]
    own = estimate(run.experiment, Calibration(step_time=2.0, peak_memory=1.1))
    assert own is not None
    published = run.estimate
    ratio = own.memory.peak_allocated_bytes / published.memory.peak_allocated_bytes
    assert ratio == pytest.approx(1.1)
    assert own.speed.time_per_step_ms == pytest.approx(2 * published.speed.time_per_step_ms)
