"""Twenty runs that are killed at random moments, and end as if nothing had happened.

``python benchmarks/twenty_kills.py [seed]``. Five trainers of one process and five of two ranks are
killed up to four times each, and ten jobs of a real platform lose their trainer or their worker
(its main process, the one that follows the job, or all of it), by SIGKILL or SIGTERM. Each run's
weights (SHA-256) and its loss at every step must be those of an undisturbed run, to the last bit.
Prints what was done to each, and ends with an error where one is different.
"""

from __future__ import annotations

import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from tests.survival.conftest import TRAIN, Yard, running
from tests.training.trainer import kills, runs, tiny
from tests.trainyard.running.instances import Instance

TRAINERS = 5  # of each number of ranks
JOBS = 10
MOST_KILLS = 4
RUN: dict[str, Any] = {
    "max_steps": 120,
    "grad_accum": 2,
    "learning_rate": 3e-3,
    "warmup_steps": 10,
    "checkpoint_interval": 20,
}


def main(seed: int) -> int:
    print(f"seed {seed}")
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="trainyard-bench-") as folder:
        different = sum(trainers(Path(folder) / f"ranks-{ranks}", ranks, rng) for ranks in (1, 2))
        different += jobs(Path(folder) / "home", rng)
    print(f"{2 * TRAINERS + JOBS - different} of {2 * TRAINERS + JOBS} runs ended the same")
    return 1 if different else 0


def trainers(folder: Path, ranks: int, rng: random.Random) -> int:
    """How many of them ended otherwise than the undisturbed run."""
    model = tiny.make_model(folder / "model")
    rows = tiny.write_rows(folder / "rows.jsonl", tiny.sums())

    def run_dir(name: str) -> Path:
        device = {"cpu_ranks": ranks}
        return runs.write_run(folder / name, model, rows, train=RUN, device=device)

    undisturbed = run_dir("undisturbed")
    assert runs.finish(undisturbed) == 0, (undisturbed / "log.txt").read_text()
    different = 0
    for number in range(TRAINERS):
        battered = run_dir(f"battered-{number}")
        times = rng.randint(1, MOST_KILLS)
        done = kills.batter(battered, rng, kills=times, max_steps=RUN["max_steps"], cold=True)
        same = runs.weights_hash(battered) == runs.weights_hash(undisturbed)
        same &= runs.losses(battered) == runs.losses(undisturbed)
        different += report(f"trainer, {ranks} rank(s)", same, done)
    return different


def jobs(home: Path, rng: random.Random) -> int:
    home.mkdir()
    with running(Instance(home, extra={"TRAINYARD_STANDBY": "1"})) as yard:
        undisturbed = yard.submit("undisturbed")
        began = time.monotonic()
        assert yard.wait_for_end(undisturbed)["status"] == "COMPLETED"
        whole = time.monotonic() - began
        different = 0
        for number in range(JOBS):
            job_id = yard.submit(f"disturbed {number}")
            done = [disturb(yard, job_id, rng, whole) for _ in range(rng.randint(1, 2))]
            job = yard.wait_for_end(job_id)
            assert job["status"] == "COMPLETED", job["failure"]
            same = yard.weights(job_id) == yard.weights(undisturbed)
            same &= yard.losses(job_id) == yard.losses(undisturbed)
            same &= job["progress"]["step"] == TRAIN["max_steps"]
            different += report("job", same, done)
    return different


def disturb(yard: Yard, job_id: str, rng: random.Random, whole: float) -> str:
    """Once, at a moment of the time that the job would take undisturbed. Says what was done."""
    number = rng.choice([signal.SIGKILL, signal.SIGTERM])
    name, find = rng.choice(list(VICTIMS.items()))
    delay = rng.uniform(0, whole)
    time.sleep(delay)
    step = yard.job(job_id)["progress"]["step"]
    for victim in find(yard, job_id):
        try:
            victim.send_signal(number)
        except psutil.NoSuchProcess:
            continue
    return f"{number.name} to {name} after {delay:.1f} s, step {step}"


def worker(yard: Yard) -> list[psutil.Process]:
    """The main process, where it lives just now."""
    pid = yard.instance.pid_of("worker")
    return [psutil.Process(pid)] if pid else []


def whole_worker(yard: Yard, _job_id: str) -> list[psutil.Process]:
    return [one for main in worker(yard) for one in [main, *main.children(recursive=True)]]


VICTIMS: dict[str, Callable[[Yard, str], list[psutil.Process]]] = {
    "the trainer": Yard.trainers,
    "the worker": lambda yard, _job_id: worker(yard),
    "the worker's process that follows it": Yard.followers,
    "the whole worker": whole_worker,
}


def report(what: str, same: bool, done: list[str]) -> int:
    print(f"{'the same' if same else 'DIFFERENT'}: {what}: {'; '.join(done)}", flush=True)
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else random.randrange(10**6)))
