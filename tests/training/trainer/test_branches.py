"""A run that begins with a checkpoint of another: what `checkpoints.seed` gives it is enough for
the real trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests import factories as make
from tests.training.trainer import runs
from training import checkpoints, run_plan
from training.models import Job, Status
from training.progress import take_over
from training.trainer import events
from training.trainer.result import Result

pytestmark = pytest.mark.django_db

TRAIN = {"max_steps": 6, "checkpoint_interval": 3, "learning_rate": 2e-2, "logging_steps": 1}
LORA = {"r": 8, "lora_alpha": 16, "lora_dropout": 0.1, "target_modules": "all-linear"}
PARTS: dict[str, Any] = {"method": "lora", "lora": LORA, "eval": {"interval": 3}}


@pytest.fixture
def parent(home: Path, base_model: Path, sums: tuple[Path, Path]) -> Job:
    """Six steps, with checkpoints of steps 3 and 6, as its runner has taken them over."""
    job = make.make_job(
        status=Status.RUNNING, experiment=make.make_experiment(train=TRAIN, lora=LORA)
    )
    folder = run_plan.run_dir(job)
    runs.write_run(
        folder, base_model, sums[0], train=TRAIN, dataset={"validation": [str(sums[1])]}, **PARTS
    )
    assert runs.finish(folder) == 0, (folder / "log.txt").read_text()
    take_over(job, 1, runs.said(folder), None)
    return job


def branch(parent: Job, base_model: Path, sums: tuple[Path, Path], **train: Any) -> Path:
    job = make.make_job(experiment=parent.experiment)
    checkpoints.seed(job, parent.checkpoints.get(step=3))
    seeded = run_plan.run_dir(job)
    seeded.rename(aside := seeded.with_name("aside"))
    runs.write_run(
        seeded,
        base_model,
        sums[0],
        train={**TRAIN, **train},
        dataset={"validation": [str(sums[1])]},
        **PARTS,
    )
    for path in aside.iterdir():
        path.rename(seeded / path.name)
    assert runs.finish(seeded) == 0, (seeded / "log.txt").read_text()
    return seeded


def test_with_the_same_settings_it_ends_as_the_other_did(
    parent: Job, base_model: Path, sums: tuple[Path, Path]
) -> None:
    """Weights, optimizer, random states and the place in the data: bit for bit."""
    folder = branch(parent, base_model, sums)
    whole = run_plan.run_dir(parent)
    assert runs.weights_hash(folder) == runs.weights_hash(whole)
    assert runs.losses(folder) == runs.losses(whole)
    begun_at = [line["step"] for line in runs.said(folder, events.CHECKPOINT)]
    assert begun_at == [3, 6]


def test_without_a_further_step_it_is_measured_and_exported(
    parent: Job, base_model: Path, sums: tuple[Path, Path]
) -> None:
    folder = branch(parent, base_model, sums, max_steps=3)
    ending = Result.read(folder)
    assert ending is not None
    assert (ending.outcome, ending.step) == ("completed", 3)
    [on_the_way] = [e.facts for e in parent.events.filter(event="evaluation", step=3)]
    assert ending.evaluation["after"]["eval_loss"] == on_the_way["eval_loss"]
    assert ending.evaluation["before"]["eval_loss"] > ending.evaluation["after"]["eval_loss"]
    assert runs.losses(folder).keys() == {1, 2, 3}
    assert Path(ending.exports["safetensors"]).is_dir()
