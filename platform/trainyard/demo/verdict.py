"""Whether the demo's job has learned its task, from the JSON of ``GET /api/jobs/:id``."""

from __future__ import annotations

from typing import Any, NamedTuple

from trainyard.demo.plan import LEARNED, UNLEARNED


class Verdict(NamedTuple):
    learned: bool
    sentence: str


def judge(job: dict[str, Any]) -> Verdict:
    """Learned only if the job completed, knew next to nothing before and nearly all after."""
    if job["status"] != "COMPLETED":
        failure = job.get("failure") or {}
        why = " ".join(failure[key] for key in ("message", "advice") if failure.get(key))
        return Verdict(False, f"The job ended {job['status']}. {why}".rstrip())
    evaluation = job.get("evaluation") or {}
    before, after = (_exact_match(evaluation, when) for when in ("before", "after"))
    if before is None or after is None:
        return Verdict(False, "The job completed, but nobody measured what it has learned.")
    numbers = f"exact match on held-out dates {before:.1%} -> {after:.1%}"
    if before >= UNLEARNED:
        return Verdict(False, f"The base model knew the task already: {numbers}.")
    if after <= LEARNED:
        return Verdict(False, f"The model has not learned enough: {numbers}.")
    return Verdict(True, f"The model has learned: {numbers}.")


def _exact_match(evaluation: dict[str, Any], when: str) -> float | None:
    share = (evaluation.get(when) or {}).get("exact_match")
    return None if share is None else float(share)
