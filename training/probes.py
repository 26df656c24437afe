"""What becomes of a probe: `end` belongs into the transaction in which its job ends, and `tidy`
takes away the job's files and rows. Both are harmless doubled.
"""

from __future__ import annotations

import logging
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from training import checking, judging, measurements, preflight
from training.models import Job, Probe
from training.preflight.findings import shortage
from training.preflight.shortages import DOES_NOT_FIT
from training.trainer import events

log = logging.getLogger(__name__)

# Beside the steps over the longest rows. Enough for a median, few enough to be waited for.
STEPS = 5


def end(job: Job, outcome: str, failure: dict[str, str] | None = None) -> None:
    """Write down how it ended, and what that says of the whole run."""
    probe = Probe.objects.select_related("base_model", "dataset", "recipe", "project").get(job=job)
    result = None
    if outcome == Probe.Outcome.MEASURED:
        result = _measured(probe, job)
    elif outcome == Probe.Outcome.OUT_OF_MEMORY:
        assert failure is not None
        result = _out_of_memory(probe, failure)
    Probe.objects.filter(pk=probe.pk, outcome="").update(
        outcome=outcome,
        result=result,
        failure=failure if outcome == Probe.Outcome.FAILED else None,
        started_at=job.started_at,
        finished_at=timezone.now(),
    )


def tidy(job: Job) -> None:
    """Where its probe is over, leave nothing of the job but what it has used."""
    with transaction.atomic():
        probe = Probe.objects.select_for_update().filter(job=job).exclude(outcome="").first()
        if probe is None:
            return
        folder = Path(settings.TRAINYARD_RUNS) / str(job.pk)
        if folder.exists():
            shutil.rmtree(folder)
        job = Job.objects.get(pk=job.pk)
        Probe.objects.filter(pk=probe.pk).update(gpu_seconds=job.gpu_seconds, job=None)
        job.delete()
        job.experiment.delete()


def sweep() -> None:
    """`tidy` for those whose worker could not."""
    cutoff = timezone.now() - timedelta(seconds=settings.TRAINYARD_LEASE_SECONDS)
    for job in Job.objects.filter(is_probe=True, probe__finished_at__lt=cutoff):
        log.info("tidying up after probe %s", job.probe.pk)
        tidy(job)


def _measured(probe: Probe, job: Job) -> dict[str, Any]:
    """What the trainer has told, and the preflight again with it."""
    told = job.events.get(event=events.MEASURED).facts
    return {
        "out_of_memory": False,
        "peak_memory_mb": told["peak_memory_mb"],
        "step_time_ms": round(1000 * told["step_seconds"], 3),
        "longest_step_time_ms": round(1000 * told["longest_step_seconds"], 3),
        "longest_tokens": told["longest_tokens"],
        "tokens_per_second": told["tokens_per_s"],
        "samples_per_second": told["samples_per_s"],
        "steps": told["steps"],
        "report": _corrected(probe, told),
    }


def _corrected(probe: Probe, told: dict[str, Any]) -> dict[str, Any] | None:
    """Of the whole run as it was asked for. None where the preflight had no numbers to correct."""
    said = measurements.Said.of(probe.preflight)
    facts = _facts(probe)
    if said is None or facts is None:
        return None
    known = measurements.corrections(facts).after(
        said.kind,
        memory=told["peak_memory_mb"] / said.peak_mb * said.memory_factor,
        time=1000 * told["step_seconds"] / said.step_ms * said.time_factor,
    )
    report = preflight.check(facts, known)
    report = judging.in_words_of_a_body(report, _plan(probe))
    return judging.within_quota(report, probe.project, probe.resources).as_dict()


def _facts(probe: Probe) -> preflight.Experiment | None:
    """None once a row of what was asked for is gone."""
    plan = _plan(probe)
    return None if None in plan.values() else checking.facts(plan)


def _plan(probe: Probe) -> dict[str, Any]:
    return {part: getattr(probe, part) for part in Probe.PLAN}


def _out_of_memory(probe: Probe, failure: dict[str, str]) -> dict[str, Any]:
    """It is certain now that it does not fit; how much would have been needed is not, so no room is
    left over, and only what takes less memory is a way out."""
    message = f"{failure['message']} {failure['advice']}"
    sentence = f"{DOES_NOT_FIT}a probe of these settings ran out of memory. {message}"
    facts = _facts(probe)
    fixes = preflight.smaller(facts, measurements.corrections(facts)) if facts else ()
    report = {
        **probe.preflight,
        "ok": False,
        "fits": False,
        "headroom_mb": None,
        "errors": [*probe.preflight.get("errors", []), shortage(sentence).sentence],
        "fixes": [fix.as_dict() for fix in judging.in_words(fixes, _plan(probe))],
    }
    return {"out_of_memory": True, "message": message, "report": report}
