"""Kill a trainer at random moments, again and again, and let it end."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

from tests.training.trainer import runs

# A kill is meant for a moment in the run; with this chance it comes while the process starts.
EARLY = 0.2
COLD_START_S, WARM_START_S = 4.0, 0.5
LATE_S = 0.1  # between two looks at how far it is; also what comes after the last step


def batter(
    run_dir: Path, rng: random.Random, *, kills: int, max_steps: int, cold: bool = False
) -> list[str]:
    """Start the run and disturb it ``kills`` times, then let it end. Says what was done to it."""
    early_s = COLD_START_S if cold else WARM_START_S
    done = []
    for _ in range(kills):
        number = rng.choice([signal.SIGKILL, signal.SIGTERM])
        at_start = rng.random() < EARLY
        step = rng.randint(runs.last_step(run_dir), max_steps)
        delay = rng.uniform(0, early_s if at_start else LATE_S)
        with runs.trainer(run_dir, cold=cold) as process:
            while not at_start and runs.last_step(run_dir) < step and process.poll() is None:
                time.sleep(0.005)
            time.sleep(delay)
            process.send_signal(number)
            code = process.wait(runs.PATIENCE_S)
        when = "at its start" if at_start else f"{delay:.3f} s after step {step}"
        done.append(f"{number.name} {when}: exit {code}, step {runs.last_step(run_dir)}")
    code = runs.finish(run_dir)
    assert code == 0, f"{done}\n{(run_dir / 'log.txt').read_text()}"
    return done
