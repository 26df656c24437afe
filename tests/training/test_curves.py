"""A long run as few points, and the points of a drawing."""

from __future__ import annotations

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


def test_evaluations_begin_with_the_base_model_and_skip_what_has_no_loss(db: None) -> None:
    job = make.make_job()
    make.make_event(job, "evaluation", eval_loss=3.5)
    make.make_event(job, "evaluation", step=50, eval_loss=None)
    make.make_event(job, "checkpoint", step=50)
    make.make_event(job, "evaluation", step=100, eval_loss=1.25)
    assert curves.evaluations(job) == [{"step": 0, "loss": 3.5}, {"step": 100, "loss": 1.25}]


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
