"""How soon the first step of a small job comes after ``POST /api/jobs``.

``python benchmarks/warm_start.py [rounds]``, on a machine that does nothing else. A real platform
in an empty home, with and without standby trainers. Prints what an idle standby holds in memory,
and for each way the seconds from the request to what happens next, the median over the rounds.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from tests.survival.conftest import FINAL, Yard, running
from tests.trainyard.running.instances import Instance, wait_for
from training.trainer import events

ROUNDS = 5
METHODS = ("full", "lora")
TRAIN = {"max_steps": 20, "checkpoint_interval": 20}
PATIENCE_SECONDS = 120


def main(rounds: int) -> None:
    for standby in ("1", "0"):
        with tempfile.TemporaryDirectory(prefix="trainyard-bench-") as folder:
            instance = Instance(Path(folder) / "home", extra={"TRAINYARD_STANDBY": standby})
            instance.home.mkdir()
            with running(instance) as yard:
                if standby == "1":
                    waiting = yard.wait_for_standbys()
                    held = [process.memory_full_info().uss / 1e6 for process in waiting]
                    print(f"{len(waiting)} standbys, {max(held):.0f} MB each at most")
                for method in METHODS:
                    measure(yard, f"standby {standby}, {method}", method, rounds)


def measure(yard: Yard, title: str, method: str, rounds: int) -> None:
    seen: dict[str, list[float]] = {}
    for round_ in range(rounds):
        if yard.instance.extra["TRAINYARD_STANDBY"] == "1":
            yard.wait_for_standbys()
        for what, seconds in one_job(yard, f"{title} {round_}", method).items():
            seen.setdefault(what, []).append(seconds)
    print(f"-- {title}")
    for what, all_seconds in seen.items():
        print(f"{statistics.median(all_seconds):8.2f} s   {what} (worst {max(all_seconds):.2f} s)")


def one_job(yard: Yard, name: str, method: str) -> dict[str, float]:
    """Seconds after the request."""
    began = time.time()
    job_id = yard.submit(name, method=method, train=TRAIN)
    moments = {"the answer to the request": time.time()}
    wait_for("the first step", lambda: yard.job(job_id)["progress"]["step"], PATIENCE_SECONDS)
    visible = time.time()
    log = yard.run_dir(job_id) / events.FILE_NAME
    moments["run.json is written"] = (yard.run_dir(job_id) / "run.json").stat().st_mtime
    for line in events.follow(log, 0)[0]:
        if line["event"] in (events.DATA, events.MODEL) or line.get("step") == 1:
            moments[f"the trainer's first {line['event']} event"] = line["time"]
    moments["GET /api/jobs/:id shows the step"] = visible
    yard.wait(job_id, lambda job: job["status"] in FINAL, PATIENCE_SECONDS)
    moments["the job has ended"] = time.time()
    return {what: moment - began for what, moment in moments.items()}


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)
