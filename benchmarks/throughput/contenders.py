"""Start a contender as a process of its own, and look at it from outside."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.throughput.steps import Steps
from benchmarks.throughput.workload import LORA, Workload
from training.trainer import events

WARM_UP_STEPS = 5
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Outcome:
    """``tokens_per_s`` from step 5 on, NaN where there are no more steps; ``memory_mb`` the most
    that was resident (on a GPU: that was allocated there); ``first_step_s`` from the launch to the
    end of the first step."""

    tokens_per_s: float
    memory_mb: float
    first_step_s: float


@dataclass(frozen=True)
class Contender:
    name: str
    run: Callable[[Workload, Path], Outcome]


def script(module: str, *flags: str) -> Callable[[Workload, Path], Outcome]:
    """A contender that reads workload.json and leaves steps.json."""

    def run(work: Workload, folder: Path) -> Outcome:
        work.write(folder)
        command = [sys.executable, "-W", "ignore", "-m", module, str(folder), *flags]
        launched, peak_mb = _finished(command, folder)
        return _outcome(work, Steps.read(folder), launched, peak_mb)

    return run


def ours(work: Workload, folder: Path) -> Outcome:
    _write_run(work, folder)
    launched, peak_mb = _finished([sys.executable, "-m", "training.trainer", str(folder)], folder)
    return _outcome(work, _our_steps(folder), launched, peak_mb)


def ours_warm(work: Workload, folder: Path) -> Outcome:
    """By a trainer that stands by, as a worker keeps one. How soon it begins is all there is to
    see: from then on it is the same."""
    work = replace(work, steps=WARM_UP_STEPS)
    _write_run(work, folder)
    with subprocess.Popen(
        [sys.executable, "-m", "training.trainer.standby"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=_environment(),
        cwd=ROOT,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()  # it is ready
        order = {"run_dir": str(folder), "environment": _environment()}
        launched = time.time()
        process.stdin.write(json.dumps(order).encode() + b"\n")
        process.stdin.close()
        peak_mb = _peak_mb(process)
    return _outcome(work, _our_steps(folder), launched, peak_mb)


def _write_run(work: Workload, folder: Path) -> None:
    folder.mkdir(parents=True)
    run = {
        "run_id": folder.name,
        "name": "throughput",
        "method": work.method,
        "base_model": {"path": work.model},
        "dataset": {"train": [work.rows]},
        "export_dir": str(folder / "exports"),
        "lora": LORA,
        "train": {
            "max_steps": work.steps,
            "global_batch_size": work.batch_size,
            "learning_rate": work.learning_rate,
            "lr_scheduler_type": "constant",
            "max_length": work.max_length,
            "dtype": work.dtype,
            "seed": work.seed,
            "checkpoint_interval": work.steps,
        },
        "device": {"gpus": int(work.device == "cuda"), "num_threads": work.threads},
    }
    (folder / "run.json").write_text(json.dumps(run), encoding="utf-8")


def _our_steps(folder: Path) -> Steps:
    lines, _ = events.follow(folder / events.FILE_NAME, 0)
    steps = [line for line in lines if line["event"] == events.STEP]
    return Steps(
        folder,
        ended=[step["time"] for step in steps],
        tokens=[step["tokens"] for step in steps],
        gpu_memory_mb=steps[-1]["memory_mb"],
    )


def _environment() -> dict[str, str]:
    paths = os.pathsep.join([str(ROOT), str(ROOT / "platform")])
    # How threads wait is ours to choose, and matters on a busy machine; the others get it too.
    quiet = {"GOMP_SPINCOUNT": "10000", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    return {**os.environ, **quiet, "PYTHONPATH": paths}


def _finished(command: list[str], folder: Path) -> tuple[float, float]:
    """When it was launched, and its peak in MB."""
    with (folder / "output.txt").open("wb") as output:
        launched = time.time()
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env=_environment(), cwd=ROOT
        )
        return launched, _peak_mb(process)


def _peak_mb(process: subprocess.Popen[bytes]) -> float:
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{process.args!r} ended with {process.returncode}; see its folder.")
    return usage.ru_maxrss / 1024  # KiB on Linux


def _outcome(work: Workload, steps: Steps, launched: float, peak_mb: float) -> Outcome:
    if work.device == "cuda":
        assert steps.gpu_memory_mb is not None
        peak_mb = steps.gpu_memory_mb
    seconds = steps.ended[-1] - steps.ended[WARM_UP_STEPS - 1]
    return Outcome(
        tokens_per_s=sum(steps.tokens[WARM_UP_STEPS:]) / seconds if seconds else math.nan,
        memory_mb=peak_mb,
        first_step_s=steps.ended[0] - launched,
    )
