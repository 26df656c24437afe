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


@pytest.mark.parametrize("method", ["full", "lora"])
def test_the_first_losses_equal_those_of_trl(make_run: Callable[..., Path], method: str) -> None:
    run_dir = make_run(
        f"beside-trl-{method}",
        method=method,
        dataset={"validation": []},
        train={
            "max_steps": STEPS,
            "global_batch_size": 8,
            "grad_accum": 2,
            "learning_rate": {"full": 3e-3, "lora": 2e-2}[method],
            "lr_scheduler_type": "cosine",
            "warmup_steps": 5,
            "weight_decay": 0.01,
        },
        lora={"r": 8, "lora_alpha": 16},
    )
    assert runs.finish(run_dir) == 0, (run_dir / "log.txt").read_text()
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.training.trainer.with_trl", str(run_dir)],
        capture_output=True,
        text=True,
        timeout=runs.PATIENCE_S,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    theirs = json.loads(process.stdout.splitlines()[-1])
    found = runs.losses(run_dir)
    assert len(theirs) == STEPS
    assert theirs[-1] < 0.8 * theirs[0]  # it is learning that is compared
    for step, loss in enumerate(theirs, start=1):
        assert found[step] == pytest.approx(loss, abs=1e-4), step
