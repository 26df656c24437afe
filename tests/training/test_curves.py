"""A long run as few points, and the points of a drawing."""

from __future__ import annotations

from typing import Any

import pytest

from tests import factories as make
from training import curves
from training.models import Status


@pytest.mark.parametrize(
    ("steps", "shown"),
    [(0, []), (1, [1]), (5, [1, 2, 3, 4, 5]), (12, [3, 6, 9, 12]), (11, [2, 5, 8, 11])],
)
def test_a_long_run_is_thinned_evenly_and_keeps_its_last_step(
    db: None, steps: int, shown: list[int]
) -> None:
    job = make.make_job(status=Status.RUNNING)
    if steps:
        make.make_metrics(job, [1.0] * steps)
    assert [point["step"] for point in curves.of_job(job, points=5)] == shown


def test_the_points_of_one_job_are_not_those_of_another(db: None) -> None:
    job, other = make.make_job(), make.make_job()
    make.make_metrics(job, [1.0])
    make.make_metrics(other, [9.0, 9.0])
    assert [point["loss"] for point in curves.of_job(job)] == [1.0]
    assert curves.recent_losses([job, other]) == {job.pk: [1.0], other.pk: [9.0, 9.0]}


def test_a_spark_has_only_the_last_steps(db: None) -> None:
    job = make.make_job()
    make.make_metrics(job, [float(n) for n in range(10)])
    assert curves.recent_losses([job], points=3) == {job.pk: [7.0, 8.0, 9.0]}


def test_of_a_run_that_logs_now_and_then_the_points_are_those_that_there_are(db: None) -> None:
    experiment = make.make_experiment(train={"max_steps": 1000, "logging_steps": 10})
    job = make.make_job(status=Status.RUNNING, experiment=experiment)
    for step in (1, *range(10, 1000, 10), 995):
        make.make_metrics(job, [1.0], first_step=step)
    shown = [point["step"] for point in curves.of_job(job, points=5)]
    assert shown == [1, 190, 390, 590, 790, 990, 995]


def test_one_that_logs_otherwise_than_it_says_is_thinned_row_by_row(db: None) -> None:
    experiment = make.make_experiment(train={"max_steps": 1000, "logging_steps": 10})
    job = make.make_job(status=Status.RUNNING, experiment=experiment)
    for step in range(3, 1000, 10):
        make.make_metrics(job, [1.0], first_step=step)
    assert [point["step"] for point in curves.of_job(job, points=5)] == [193, 393, 593, 793, 993]


def test_curves_of_several_jobs_take_one_query(db: None, django_assert_num_queries: Any) -> None:
    jobs = [make.make_job(status=Status.RUNNING) for _ in range(3)]
    for job in jobs[:2]:
        make.make_metrics(job, [2.0, 1.0])
    with django_assert_num_queries(1):
        found = curves.of_jobs(jobs)
    assert [[row["step"] for row in found[job.pk]] for job in jobs] == [[1, 2], [1, 2], []]


def test_several_curves_share_one_frame() -> None:
    both = curves.overlaid([[[0, 1.0], [10, 0.0]], [[5, 2.0]], [[10, 2.0], [20, 2.0]]], 100, 24)
    assert both == ["0.0,12.0 50.0,22.0", "", "50.0,2.0 100.0,2.0"]
    assert curves.overlaid([[], []], 100, 24) == ["", ""]


@pytest.mark.parametrize(
    ("values", "points"),
    [
        ([], ""),
        ([1.0], ""),
        ([2.0, 0.0, 1.0], "0.0,2.0 50.0,18.0 100.0,10.0"),
        ([5.0, 5.0], "0.0,18.0 100.0,18.0"),
    ],
)
def test_a_drawing_fills_its_frame(values: list[float], points: str) -> None:
    assert curves.polyline(values, width=100, height=20) == points
