"""What to change so that it fits, or is faster: each change is tried, never guessed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from training.preflight import changes
from training.preflight.changes import Change, Needs
from training.preflight.estimate import Estimate
from training.preflight.facts import Experiment
from training.preflight.rules import errors_by_rules
from training.preflight.shortages import lacks

MOST_FIXES = 5
# A gain below this is within the doubt of the estimate and not worth a person's attention.
WORTHWHILE_SPEEDUP = 1.1


@dataclass(frozen=True, kw_only=True)
class Fix:
    """A change in the words of the API, and what the experiment would then need.

    ``keeps_result``: the same mathematics, so the same model comes out. ``experiment`` is what was
    judged: all that the patch does not say is as it was.
    """

    title: str
    patch: dict[str, Any]
    keeps_result: bool
    estimated_vram_mb: int
    time_per_step_ms: float
    fits: bool | None
    experiment: Experiment = field(repr=False, compare=False)

    def as_dict(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "patch": self.patch,
            "keeps_result": self.keeps_result,
            "estimated_vram_mb": self.estimated_vram_mb,
            "time_per_step_ms": round(self.time_per_step_ms, 1),
            "fits": self.fits,
        }


def find_fixes(
    experiment: Experiment, now: Estimate, needs: Needs, *, ran_out: bool = False
) -> tuple[Fix, ...]:
    """Best first: what fits, before what does not; what leaves the result alone, before what
    changes it; the faster before the slower. Where it fits already: only what makes it faster,
    unless it ``ran_out`` of memory all the same. None brings an error that there was not."""
    too_large = now.fits is False or ran_out
    asked = _once(needs)
    tried = changes.smaller(experiment, asked) if too_large else changes.faster(experiment)
    found = []
    for change in tried:
        then = asked(change.experiment)
        if then is not None and _helps(now, then, too_large):
            found.append(_fix(change, then))
    found.sort(key=_rank)
    goes = _goes_beside(experiment, now)
    shown: list[Fix] = []
    for fix in found:
        if len(shown) == MOST_FIXES or (shown and shown[0].fits and not fix.fits):
            break
        if goes(fix.experiment, asked(fix.experiment)):
            shown.append(fix)
    return tuple(shown)


def _rank(fix: Fix) -> tuple[bool, bool, float]:
    if fix.fits:
        return False, not fix.keeps_result, fix.time_per_step_ms
    return True, False, fix.estimated_vram_mb


def _goes_beside(
    experiment: Experiment, now: Estimate
) -> Callable[[Experiment, Estimate | None], bool]:
    """Whether another experiment is refused for nothing that this one is not refused for, and
    wants no more of anything that there is too little of."""
    said = errors_by_rules(experiment)
    lacking = {lack.what: lack.needed for lack in lacks(experiment, now)}

    def goes(other: Experiment, then: Estimate | None) -> bool:
        if then is None or not errors_by_rules(other) <= said:
            return False
        return all(lack.needed <= lacking.get(lack.what, 0) for lack in lacks(other, then))

    return goes


def _once(needs: Needs) -> Needs:
    """What a search has asked is asked again of what it has found."""
    known: dict[int, tuple[Experiment, Estimate | None]] = {}

    def asked(experiment: Experiment) -> Estimate | None:
        if id(experiment) not in known:
            known[id(experiment)] = (experiment, needs(experiment))
        return known[id(experiment)][1]

    return asked


def _helps(now: Estimate, then: Estimate, too_large: bool) -> bool:
    if too_large:
        gains = then.memory.total_mb < now.memory.total_mb
        return gains or (then.fits is True and now.fits is False)
    # By tokens, as a step of packs is not a step of rows.
    gain = then.speed.tokens_per_second / now.speed.tokens_per_second
    return then.fits is True and gain > WORTHWHILE_SPEEDUP


def _fix(change: Change, then: Estimate) -> Fix:
    return Fix(
        title=change.title,
        patch=change.patch,
        keeps_result=change.keeps_result,
        estimated_vram_mb=then.memory.total_mb,
        time_per_step_ms=then.speed.time_per_step_ms,
        fits=then.fits,
        experiment=change.experiment,
    )
