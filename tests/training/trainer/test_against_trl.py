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
Losses = dict[str, tuple[list[float], list[dict[int, float]]]]


@pytest.fixture(scope="module")
def beside_trl(make_run: Callable[..., Path]) -> Losses:
    """Theirs, and ours by one rank and by two (ddp), by method."""
    alone, together = (
        {method: our_run(make_run, method, ranks) for method in RATES} for ranks in (1, 2)
    )
    for run_dir in (*alone.values(), *together.values()):
        assert runs.finish(run_dir) == 0, (run_dir / "log.txt").read_text()
    command = ["-W", "ignore", "-m", "tests.training.trainer.with_trl", *map(str, alone.values())]
    process = subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        timeout=runs.PATIENCE_S,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    told = process.stdout.splitlines()[-len(RATES) :]
    return {
        method: (json.loads(line), [runs.losses(dirs[method]) for dirs in (alone, together)])
        for method, line in zip(RATES, told, strict=True)
    }


def our_run(make_run: Callable[..., Path], method: str, ranks: int) -> Path:
    return make_run(
        f"beside-trl-{method}-{ranks}",
        method=method,
        dataset={"validation": []},
        train={
            "max_steps": STEPS,
            "global_batch_size": 8,
            "grad_accum": 2,
            "learning_rate": RATES[method],
            "lr_scheduler_type": "cosine",
            "warmup_steps": 5,
            "weight_decay": 0.01,
        },
        lora={"r": 8, "lora_alpha": 16},
        device={"cpu_ranks": ranks, "num_threads": 1, "strategy": "ddp"},
    )


@pytest.mark.parametrize("method", RATES)
@pytest.mark.parametrize("ranks", [1, 2])
def test_the_first_losses_equal_those_of_trl(beside_trl: Losses, method: str, ranks: int) -> None:
    theirs, ours = beside_trl[method]
    found = ours[ranks - 1]
    assert len(theirs) == STEPS
    assert theirs[-1] < 0.8 * theirs[0]  # it is learning that is compared
    for step, loss in enumerate(theirs, start=1):
        assert found[step] == pytest.approx(loss, abs=1e-4), step
