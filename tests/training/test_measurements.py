"""Every attempt leaves what was said of it beside what it took, and the next preflight knows."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from tests.factories import (
    make_event,
    make_experiment,
    make_job,
    make_lease,
    make_worker,
)
from training import measurements, outcome
from training.measurements import Said
from training.models import Job, Measurement, Metric, Status
from training.preflight.corrections import FORMULAS
from training.trainer import result

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sent")]
CRASH = result.Failure(kind="bug", message="It broke.", advice="Report it.")

REPORT = {
    "time_per_step_ms": 500.0,
    "vram_breakdown": {"peak_allocated_gb": 1.0, "cuda_context_gb": 0.5},
    "confidence": {
        "card": "cpu",
        "method": "lora",
        "strategy": "one",
        "memory_factor": 1.0,
        "time_factor": 1.0,
        "knows_lengths": True,
        "formulas": FORMULAS,
    },
}


def said(**confidence: Any) -> dict[str, Any]:
    return {**REPORT, "confidence": {**REPORT["confidence"], **confidence}}  # type: ignore[dict-item]


def training(report: dict[str, Any] | None = None, **fields: Any) -> Job:
    """A job at work on a CPU, packing, so that each of its steps is like any other."""
    experiment = make_experiment(
        preflight=REPORT if report is None else report,
        train={
            "max_steps": 100,
            "global_batch_size": 8,
            "packing": True,
            **fields.pop("train", {}),
        },
        **fields,
    )
    job = make_job(status=Status.RUNNING, experiment=experiment)
    make_lease(job, make_worker().devices.get())
    make_event(job, "running")
    return job


def log_steps(job: Job, memory_mb: list[float], samples_per_s: float = 20.0) -> None:
    first = job.metrics.count() + 1
    for step, memory in enumerate(memory_mb, start=first):
        job.cursor += 1
        Metric.objects.create(
            job=job, cursor=job.cursor, step=step, memory_mb=memory, loss=1.0,
            samples_per_s=1.0 if step == 1 else samples_per_s, logged_at=timezone.now(),
        )  # fmt: skip
    job.step = first + len(memory_mb) - 1
    job.save()


def test_an_attempt_leaves_what_was_said_and_what_was_measured() -> None:
    job = training()
    log_steps(job, [1400, 1600, 1800, 1700, 1700])
    outcome.failed(job, 1, CRASH)
    row = Measurement.objects.get()
    assert (row.job, row.attempt, row.model_name) == (job, 1, job.experiment.base_model.name)
    assert (row.card, row.method, row.strategy) == ("cpu", "lora", "one")
    assert (row.predicted_peak_mb, row.measured_peak_mb) == (1.5 * 1024, 1800)
    # Eight rows at twenty a second; the first step, which warms up, does not count.
    assert (row.predicted_step_ms, row.measured_step_ms) == (500, 400)
    assert row.memory_ratio == pytest.approx(1800 / 1536)
    assert row.time_ratio == pytest.approx(0.8)


def test_on_a_card_it_is_what_torch_allocates_that_is_compared() -> None:
    on_card = Said.of(said(card="a100-80gb"))
    assert on_card is not None
    assert on_card.peak_mb == 1024


def test_each_ending_writes_one_row_and_each_attempt_its_own() -> None:
    job = training()
    log_steps(job, [1500] * 5)
    outcome.lost(job, 1, "Its worker died.")
    job.refresh_from_db()
    assert (job.status, job.attempt) == (Status.QUEUED, 2)
    Job.objects.update(status=Status.RUNNING)
    job.refresh_from_db()
    make_event(job, "running")
    log_steps(job, [1550] * 5)
    Job.objects.update(cancel_requested_at=timezone.now())
    outcome.stopped(job, 2)
    rows = Measurement.objects.order_by("attempt")
    assert list(rows.values_list("attempt", "measured_peak_mb")) == [(1, 1500), (2, 1550)]


def test_a_job_that_was_paused_has_measured_too() -> None:
    job = training()
    log_steps(job, [1500] * 5)
    Job.objects.update(status=Status.PAUSING)
    outcome.stopped(job, 1)
    assert Measurement.objects.get().steps == 5


def test_one_that_never_ran_has_measured_nothing() -> None:
    waiting = make_job(
        status=Status.QUEUED, attempt=1, experiment=make_experiment(preflight=REPORT)
    )
    make_event(waiting, "running")  # of an attempt before
    outcome.cancelled(waiting)
    early = training()
    outcome.failed(early, 1, CRASH)
    assert not Measurement.objects.exists()


def test_a_few_steps_tell_the_memory_and_not_yet_the_time() -> None:
    job = training()
    log_steps(job, [1500, 1600])
    outcome.failed(job, 1, CRASH)
    row = Measurement.objects.get()
    assert (row.measured_peak_mb, row.measured_step_ms, row.time_ratio) == (1600, None, None)


def test_what_would_have_been_needed_nobody_knows_once_memory_has_run_out() -> None:
    job = training()
    log_steps(job, [1500] * 5)
    outcome.failed(job, 1, result.Failure(kind="out_of_memory", message="Full.", advice="Less."))
    assert not Measurement.objects.exists()


@pytest.mark.parametrize(
    "odd",
    [
        {"report": said(knows_lengths=False)},
        {"report": said(card="a100-80gb")},  # and it ran on a CPU
    ],
    ids=["lengths unknown", "another card"],
)
def test_what_says_nothing_of_the_formulas_is_shown_and_not_learned_from(
    odd: dict[str, Any],
) -> None:
    job = training(**odd)
    log_steps(job, [1500] * 5)
    outcome.failed(job, 1, CRASH)
    row = Measurement.objects.get()
    assert row.measured_peak_mb == 1500
    assert (row.memory_ratio, row.time_ratio) == (None, None)


def test_nothing_is_learned_once_the_batch_was_halved() -> None:
    job = training()
    make_event(job, "batch_halved", step=0)
    log_steps(job, [1500] * 5)
    outcome.failed(job, 1, CRASH)
    assert Measurement.objects.get().memory_ratio is None


@pytest.mark.parametrize(
    ("train", "steps", "saw"),
    [
        ({"packing": False}, 5, False),
        ({"packing": False}, 125, True),  # 1000 rows, eight at a time
        ({"packing": False, "group_by_length": True}, 5, True),
    ],
)
def test_memory_is_learned_once_the_longest_rows_were_seen(
    train: dict[str, Any], steps: int, saw: bool
) -> None:
    job = training(train=train)
    log_steps(job, [1500] * 5)
    Job.objects.update(step=steps)
    job.refresh_from_db()
    outcome.failed(job, 1, CRASH)
    row = Measurement.objects.get()
    assert (row.memory_ratio is not None) is saw
    assert row.time_ratio is not None


def test_the_longest_rows_may_have_been_seen_by_an_attempt_before() -> None:
    """Then they are not in the peak of this one."""
    job = training(train={"packing": False})
    Job.objects.update(step=120)
    job.refresh_from_db()
    for step in range(121, 126):  # from a checkpoint, to the end of the 1000 rows
        job.cursor += 1
        Metric.objects.create(
            job=job, cursor=job.cursor, step=step, memory_mb=1500, loss=1.0, samples_per_s=20.0,
            logged_at=timezone.now(),
        )  # fmt: skip
    job.step = 125
    job.save()
    outcome.failed(job, 1, CRASH)
    assert Measurement.objects.get().memory_ratio is None


def test_suites_take_memory_of_their_own() -> None:
    job = training(eval={"suites": ["exact_match"]})
    log_steps(job, [1500] * 5)
    outcome.failed(job, 1, CRASH)
    assert Measurement.objects.get().memory_ratio is None


def test_what_was_corrected_before_is_not_learned_twice() -> None:
    """Ratios are to the formulas, so that a factor in use does not hide what it corrects."""
    job = training(said(memory_factor=1.5, time_factor=0.5))
    log_steps(job, [1536] * 5, samples_per_s=16.0)
    outcome.failed(job, 1, CRASH)
    row = Measurement.objects.get()
    assert row.memory_ratio == pytest.approx(1.5)
    assert row.time_ratio == pytest.approx(0.5)


@pytest.mark.parametrize("report", [{}, {"confidence": None, "time_per_step_ms": 0}])
def test_a_report_without_numbers_is_compared_with_nothing(report: dict[str, Any]) -> None:
    job = training(report)
    log_steps(job, [1500] * 5)
    outcome.failed(job, 1, CRASH)
    assert not Measurement.objects.exists()


def test_a_preflight_asks_once_for_what_own_runs_teach(django_assert_num_queries: Any) -> None:
    from tests.training.preflight.experiments import make_experiment as judged

    on_cpu = judged(resources={"gpus": 0})
    for number in range(8):
        Measurement.objects.create(
            attempt=1, name=f"job-{number}", model_name="tiny", card="cpu", method="lora",
            strategy="one", formulas=FORMULAS if number else FORMULAS - 1, steps=50,
            predicted_peak_mb=1000, measured_peak_mb=1200, predicted_step_ms=100,
            measured_step_ms=120, memory_ratio=1.2 if number else 9.0, time_ratio=1.2,
        )  # fmt: skip
    with django_assert_num_queries(1):
        told = measurements.corrections(on_cpu).of(on_cpu)
    assert told.memory.runs == 7  # what was compared with older formulas says nothing
    assert 1.1 < told.memory.value < 1.2
