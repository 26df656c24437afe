"""What would be said of rows that nothing was read off: by source, and by model.

The speed's numbers are fitted anew without the rows that are left out. Of memory there are few
numbers to fit; but some of its rules were read off rows, and those of them go that no row is left
to be read off: the software is then taken for what else is known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from benchmarks.preflight_accuracy.measure import Errors, Run, memory_error
from benchmarks.preflight_accuracy.rows import model_of
from training.preflight import Stack
from training.preflight.calibration import PUBLISHED

Rule = tuple[Callable[[Stack], bool], Callable[[Stack], Stack]]


def _loss(name: str) -> Rule:
    """Its bytes were read off differences between micro batches; those of the newest Transformers
    are the profiler's."""
    return (lambda stack: stack.loss == name, lambda stack: replace(stack, loss="transformers"))


# For each rule whether a run's software follows it, and what would be said of that instead.
RULES: tuple[Rule, ...] = (
    _loss("transformers_4.44"),
    _loss("fused"),
    _loss("fused_4.44"),
    (lambda stack: stack.fsdp1, lambda stack: replace(stack, fsdp1=False)),
    (
        lambda stack: stack.prepares_4bit == "norms",
        lambda stack: replace(stack, prepares_4bit="all"),
    ),
)
GROUPS: dict[str, Callable[[Run], str]] = {
    "source": lambda run: run.source,
    "model": lambda run: model_of(run.row),
}


def without_their_rules(runs: Sequence[Run], name: str, group: Callable[[Run], str]) -> list[Run]:
    """The runs of that group, judged by what the others alone have taught."""
    measured = [run for run in runs if run.row.get("measured_peak_bytes")]
    others = [run.experiment.stack for run in measured if group(run) != name]
    calibration = PUBLISHED
    if not any(_shows_what_is_reserved(run) for run in measured if group(run) != name):
        share = calibration.reserved_share  # that of runs with checkpointing, for all
        calibration = replace(calibration, reserved_share_of_all=share)
    blind = []
    for run in measured:
        if group(run) != name:
            continue
        stack = run.experiment.stack
        for follows, instead in RULES:
            if follows(stack) and not any(follows(other) for other in others):
                stack = instead(stack)
        experiment = replace(run.experiment, stack=stack)
        blind.append(Run(row=run.row, experiment=experiment, calibration=calibration))
    return blind


def _shows_what_is_reserved(run: Run) -> bool:
    """Without checkpointing."""
    checkpoints = run.experiment.train.gradient_checkpointing or run.experiment.stack.selective
    return "nvidia-smi" in str(run.row["memory_metric"]) and not checkpoints


def memory_left_out(runs: Sequence[Run], group: Callable[[Run], str]) -> dict[str, Errors]:
    found = {}
    for name in dict.fromkeys(group(run) for run in runs):
        errors = [memory_error(run) for run in without_their_rules(runs, name, group)]
        values = tuple(error for error in errors if error is not None)
        if values:
            found[name] = Errors(values=values)
    return found


def pooled(groups: dict[str, Errors]) -> Errors:
    """All of them as one."""
    return Errors(values=tuple(value for errors in groups.values() for value in errors.values))
