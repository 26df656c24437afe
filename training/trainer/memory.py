"""When a step does not fit into memory: the same steps in smaller parts.

Half the micro batch with twice the accumulation is the same global batch, so the same mathematics
in less memory (`auto_find_batch_size`). The process begins anew for it, from the last checkpoint:
after it has run out of memory nobody knows what it still holds.
Standard library only.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from training.trainer import events
from training.trainer.events import EventLog
from training.trainer.failures import is_gpu_out_of_memory, is_host_out_of_memory
from training.trainer.result import last_saved_step
from training.trainer.spec import METHODS, RunSpec

FILE_NAME = "micro_batch.json"

logger = logging.getLogger(__name__)


class BeginAnew(Exception):
    """The run goes on in a new process, with the smaller micro batch that has been noted."""


def spec_in_force(spec: RunSpec, run_dir: Path) -> RunSpec:
    """``spec`` with the accumulation that this run was found to need, over all its restarts."""
    if not (found := noted(run_dir)):
        return spec
    return replace(spec, train=replace(spec.train, grad_accum=found[-1]["grad_accum"]))


def tell(run_dir: Path, log: EventLog) -> None:
    """Every halving is an event, said once."""
    for facts in noted(run_dir):
        log.emit(events.BATCH_HALVED, **facts)


@contextmanager
def room_for_steps(spec: RunSpec, run_dir: Path) -> Iterator[None]:
    """While inside, running out of memory raises BeginAnew where there is a smaller micro batch to
    try, noted in the run's folder. ``spec`` is the one in force."""
    try:
        yield
    except Exception as error:
        if not is_gpu_out_of_memory(error) and not is_host_out_of_memory(error):
            raise
        facts = smaller_batch(spec)
        if facts is None:
            raise
        facts["step"] = last_saved_step(run_dir)
        # Another rank may have noted the same, having run out of memory in the same step.
        before = [one for one in noted(run_dir) if one["grad_accum"] <= spec.train.grad_accum]
        _note([*before, facts], run_dir)
        logger.warning("%s %s", _first_line(error), in_words(facts))
        raise BeginAnew from error


def smaller_batch(spec: RunSpec) -> dict[str, Any] | None:
    """The micro batch to try next and its accumulation: the largest that divides and is at most
    half; None where there is none, or the run wants none."""
    if not spec.train.auto_find_batch_size or METHODS[spec.method].compares_rows:
        return None
    ranks = spec.device.ranks
    size = spec.train.micro_batch_size(ranks)
    rows = size * spec.train.grad_accum
    for smaller in range(size // 2, 0, -1):
        if rows % smaller == 0:
            return {"micro_batch_size": smaller, "grad_accum": rows // smaller, "before": size}
    return None


def noted(run_dir: Path) -> list[dict[str, Any]]:
    """The halvings of this run, each what `events.BATCH_HALVED` tells."""
    try:
        found: list[dict[str, Any]] = json.loads((run_dir / FILE_NAME).read_text("utf-8"))
    except FileNotFoundError:
        return []
    return found


def in_words(facts: dict[str, Any]) -> str:
    return (
        f"Micro batches of {facts['micro_batch_size']} instead of {facts['before']} from step "
        f"{facts['step']} on, {facts['grad_accum']} of them to a step: the same rows in less "
        "memory."
    )


def _note(facts: list[dict[str, Any]], run_dir: Path) -> None:
    half = run_dir / f"{FILE_NAME}.{os.getpid()}.tmp"
    half.write_text(json.dumps(facts), encoding="utf-8")
    os.replace(half, run_dir / FILE_NAME)


def _first_line(error: Exception) -> str:
    return f"Out of memory ({' '.join(str(error).split())[:200]})."
