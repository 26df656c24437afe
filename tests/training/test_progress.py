"""What the trainer has said arrives in the database once, whoever dies in between."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.factories import make_job
from training.models import Checkpoint, Job, JobEvent, Metric, Status
from training.progress import Fenced, take_over

pytestmark = pytest.mark.django_db


def line(seq: int, event: str, **facts: Any) -> dict[str, Any]:
    return {"seq": seq, "event": event, "time": time.time(), **facts}


def steps(first: int, last: int) -> list[dict[str, Any]]:
    return [
        line(n, "step", step=n, loss=1 / n, learning_rate=1e-3, tokens_per_s=100.0)
        for n in range(first, last + 1)
    ]


@pytest.fixture
def job() -> Job:
    return make_job(status=Status.RUNNING)


def test_steps_become_metrics_and_the_job_moves_on(job: Job) -> None:
    take_over(job, 1, [line(1, "plan", max_steps=50, steps_per_epoch=10)], None)
    take_over(job, 1, [{**row, "seq": row["seq"] + 1} for row in steps(1, 3)], 0.5)
    assert list(Metric.objects.values_list("step", "cursor")) == [(1, 2), (2, 3), (3, 4)]
    assert job.progress == {"step": 3, "max_steps": 50, "percent": 6.0, "eta_s": 23.5}
    assert job.last_metrics["loss"] == pytest.approx(1 / 3)
    assert job.cursor == 4


def test_what_was_taken_over_before_is_not_doubled(job: Job) -> None:
    take_over(job, 1, steps(1, 5), None)
    take_over(job, 1, steps(3, 8), None)
    assert list(Metric.objects.values_list("step", flat=True)) == list(range(1, 9))
    assert job.cursor == 8


def test_an_attempt_that_is_over_writes_nothing(job: Job) -> None:
    Job.objects.filter(pk=job.pk).update(attempt=2)
    with pytest.raises(Fenced):
        take_over(job, 1, steps(1, 5), None)
    assert not Metric.objects.exists()


def test_a_job_that_has_ended_takes_nothing_any_more() -> None:
    ended = make_job(status=Status.CANCELLED)
    with pytest.raises(Fenced):
        take_over(ended, 1, steps(1, 2), None)


def test_only_checkpoints_that_are_still_on_disk_are_listed(job: Job) -> None:
    lines = [
        line(n, "checkpoint", step=10 * n, path=f"/runs/step-{n}", size_bytes=1000, kept=kept)
        for n, kept in enumerate(([10], [10, 20], [20, 30], [20, 30, 40]), start=1)
    ]
    take_over(job, 1, lines, None)
    assert list(Checkpoint.objects.values_list("step", flat=True)) == [20, 30, 40]
    assert JobEvent.objects.filter(event="checkpoint").count() == 4


def test_the_base_model_and_the_newest_evaluation_stand_side_by_side(job: Job) -> None:
    take_over(
        job,
        1,
        [
            line(1, "evaluation", step=0, eval_loss=3.0, exact_match=0.0),
            line(2, "evaluation", step=10, eval_loss=2.0),
            line(3, "evaluation", step=20, eval_loss=1.0, exact_match=0.9),
        ],
        None,
    )
    assert job.evaluation["before"]["eval_loss"] == 3.0
    assert job.evaluation["after"]["exact_match"] == 0.9
    sentences = list(JobEvent.objects.values_list("message", flat=True))
    assert sentences[0] == "Base model: loss 3, exact match 0."
    assert sentences[2] == "After step 20: loss 1, exact match 0.9."


def test_the_job_says_how_far_the_reading_of_its_data_is(job: Job) -> None:
    take_over(job, 1, [line(1, "data_progress", rows=1_250_000, percent=35)], None)
    assert JobEvent.objects.get().message == "35 % of the data is read, 1,250,000 rows so far."


def test_a_batch_costs_the_same_queries_however_long_it_is(
    job: Job, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(7):
        take_over(job, 1, steps(1, 80), 0.1)
