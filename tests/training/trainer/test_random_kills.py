"""Killed at moments that nobody chose, on one rank and on two, a run ends with the same weights.

`benchmarks/twenty_kills.py` does it twenty times, and to workers too.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.training.trainer import conftest, kills, runs

STEPS = 60
SHORT = conftest.LONG | {"max_steps": STEPS, "checkpoint_interval": 15}


@pytest.mark.parametrize(("ranks", "times"), [(1, 2), (2, 2)])
def test_the_weights_are_those_of_an_undisturbed_run(
    make_run: Callable[..., Path], ranks: int, times: int
) -> None:
    seed = random.SystemRandom().randrange(10**6)
    device = {"cpu_ranks": ranks}
    undisturbed, run_dir = (
        make_run(name, train=SHORT, device=device, eval={"interval": 20})
        for name in ("undisturbed", "battered")
    )
    assert runs.finish(undisturbed) == 0, (undisturbed / "log.txt").read_text()
    done = kills.batter(run_dir, random.Random(seed), kills=times, max_steps=STEPS)
    told = f"random.Random({seed}): {'; '.join(done)}"
    assert runs.losses(run_dir) == runs.losses(undisturbed), told
    assert runs.weights_hash(run_dir) == runs.weights_hash(undisturbed), told
    seqs = [line["seq"] for line in runs.said(run_dir)]
    assert seqs == list(range(1, len(seqs) + 1)), told
