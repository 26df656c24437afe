"""What counts as learned."""

from __future__ import annotations

from typing import Any

import pytest

from trainyard.demo.verdict import judge


def ended(before: float | None, after: float | None, status: str = "COMPLETED") -> dict[str, Any]:
    evaluation = {"before": scores(before), "after": scores(after)}
    return {"status": status, "failure": None, "evaluation": evaluation}


def scores(share: float | None) -> dict[str, float] | None:
    return None if share is None else {"exact_match": share, "eval_loss": 1.0}


def test_from_nothing_to_nearly_all_is_learned():
    verdict = judge(ended(0.0, 0.985))
    assert verdict.learned
    assert "0.0% -> 98.5%" in verdict.sentence


@pytest.mark.parametrize(
    ("shown", "why"),
    [
        (ended(0.05, 0.99), "knew the task already"),
        (ended(0.0, 0.90), "not learned enough"),
        (ended(0.0, None), "nobody measured"),
        ({"status": "COMPLETED", "evaluation": None}, "nobody measured"),
        (ended(0.0, 0.99, "CANCELLED"), "ended CANCELLED"),
    ],
)
def test_anything_less_is_not_learned_and_says_why(shown, why):
    verdict = judge(shown)
    assert not verdict.learned
    assert why in verdict.sentence


def test_a_failed_job_says_its_failure_and_what_to_do():
    failure = {"kind": "disk_full", "message": "The disk is full.", "advice": "Make room."}
    verdict = judge({"status": "FAILED", "failure": failure})
    assert verdict == (False, "The job ended FAILED. The disk is full. Make room.")
