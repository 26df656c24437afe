"""The losses of the first steps are those of TRL's SFTTrainer."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.training.trainer import runs

STEPS = 20
RATES = {"full": 3e-3, "lora": 2e-2}


@pytest.fixture(scope="module")
def beside_trl(make_run: Callable[..., Path]) -> dict[str, tuple[dict[int, float], list[float]]]:
    """Our losses and theirs, by method."""
    dirs = {
        method: make_run(
            f"beside-trl-{method}",
            method=method,
            dataset={"validation": []},
            train={
                "max_steps": STEPS,
                "global_batch_size": 8,
                "grad_accum": 2,
                "learning_rate": rate,
                "lr_scheduler_type": "cosine",
                "warmup_steps": 5,
                "weight_decay": 0.01,
            },
            lora={"r": 8, "lora_alpha": 16},
        )
        for method, rate in RATES.items()
    }
    for run_dir in dirs.values():
        assert runs.finish(run_dir) == 0, (run_dir / "log.txt").read_text()
    command = ["-W", "ignore", "-m", "tests.training.trainer.with_trl", *map(str, dirs.values())]
    process = subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        timeout=runs.PATIENCE_S,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    told = process.stdout.splitlines()[-len(dirs) :]
    return {
        method: (runs.losses(run_dir), json.loads(line))
        for (method, run_dir), line in zip(dirs.items(), told, strict=True)
    }


@pytest.mark.parametrize("method", RATES)
def test_the_first_losses_equal_those_of_trl(
    beside_trl: dict[str, tuple[dict[int, float], list[float]]], method: str
) -> None:
    found, theirs = beside_trl[method]
    assert len(theirs) == STEPS
    assert theirs[-1] < 0.8 * theirs[0]  # it is learning that is compared
    for step, loss in enumerate(theirs, start=1):
        assert found[step] == pytest.approx(loss, abs=1e-4), step
