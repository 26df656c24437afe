"""What was measured before, after, and at each checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest

from accounts.models import User
from tests import factories as make
from training import evaluations
from training.models import Job, Status

pytestmark = pytest.mark.django_db


def measured(job: Job, step: int, **facts: float) -> None:
    event = make.make_event(job, "evaluation", step=step)
    event.facts = {"step": step, **facts}
    event.save()


def test_the_base_model_is_step_0(ana: User) -> None:
    job = make.make_job()
    measured(job, 0, eval_loss=3.5)
    measured(job, 100, eval_loss=1.25)
    make.make_event(job, "checkpoint", step=50)
    found = evaluations.of_job(job)
    assert [(step, facts["eval_loss"]) for step, facts in found.items()] == [(0, 3.5), (100, 1.25)]


def test_the_best_checkpoint_is_marked(ana: User, home: Path) -> None:
    job = make.make_job(status=Status.COMPLETED)
    for step, loss in ((10, 2.0), (20, 1.0), (30, 1.5)):
        measured(job, step, eval_loss=loss)
        make.make_checkpoint(job, step)
    make.make_checkpoint(job, 40)
    rows = evaluations.of_checkpoints(job, evaluations.of_job(job), ana)
    told = [(row.checkpoint.step, row.numbers.get("eval_loss"), row.is_best) for row in rows]
    assert told == [(40, None, False), (30, 1.5, False), (20, 1.0, True), (10, 2.0, False)]
    assert not any(row.is_there for row in rows)


def test_numbers_say_whether_they_are_better() -> None:
    job = Job(
        evaluation={
            "before": {"step": 0, "eval_loss": 2.0, "exact_match": 0.5, "exact_match_stderr": 0.1},
            "after": {"step": 9, "eval_loss": 1.0, "exact_match": 0.25, "only_after": 7},
        }
    )
    loss, match, after = evaluations.before_and_after(job)
    assert (loss.name, loss.tone) == ("eval_loss", "good")
    assert [bar["percent"] for bar in loss.bars] == [100.0, 50.0]
    assert (match.name, match.tone, match.before_error) == ("exact_match", "bad", 0.1)
    assert (after.name, after.tone, len(after.bars)) == ("only_after", "quiet", 1)
