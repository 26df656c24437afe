"""How fast this machine's CPU multiplies, so that preflight need not guess it.

A trainer that stands by measures it once everything is loaded, in the few hundredths of a second
until its run comes, and keeps the best that was ever seen: other work on the machine makes a
product slower, nothing makes it faster.
"""

from __future__ import annotations

import json
import os
import platform
import time
from pathlib import Path

# Where the platform wants it, and with how many threads its runs compute.
FILE, THREADS = "TRAINYARD_CPU_RATE_FILE", "TRAINYARD_CPU_THREADS"

# A feed-forward layer of a small model over a short batch, large enough to fill the cores and small
# enough for their caches: 0.7 GFLOP a product.
ROWS, WIDTH, INNER = 512, 512, 1408
ROUNDS = 8


def measured_gflops(threads: int) -> float:
    """Float32 products as a step has them (forward, and both gradients), the best of some rounds,
    in GFLOP/s of all ``threads`` together.

    Counted is the time that the threads computed, not what the clock says: at the start of a
    worker its other processes want the same cores."""
    import torch

    from training.trainer.linear import product

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        rows, weight = torch.ones(ROWS, WIDTH), torch.ones(INNER, WIDTH)
        grad = torch.ones(ROWS, INNER)
        best = float("inf")
        for _ in range(ROUNDS):
            began = time.process_time()
            product(rows, weight)
            product(grad, weight.t())
            product(grad.t(), rows.t())
            best = min(best, (time.process_time() - began) / threads)
    finally:
        torch.set_num_threads(before)
    return 3 * 2 * ROWS * WIDTH * INNER / best / 1e9


def note() -> None:
    """Measure, and write it where the environment says, unless a better rate stands there."""
    if not (name := os.environ.get(FILE)):
        return
    path, threads = Path(name), int(os.environ[THREADS])
    gflops = measured_gflops(threads)
    if gflops <= (noted(path, threads) or 0.0):
        return
    half = path.with_name(f".{path.name}.{os.getpid()}")
    path.parent.mkdir(parents=True, exist_ok=True)
    half.write_text(
        json.dumps({"machine": machine(), "threads": threads, "gflops": round(gflops, 1)}),
        encoding="utf-8",
    )
    os.replace(half, path)


def noted(path: Path, threads: int) -> float | None:
    """GFLOP/s as they were noted on this machine with as many threads; None where they were not."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if (found["machine"], found["threads"]) == (machine(), threads):
            return float(found["gflops"])
    except (OSError, ValueError, KeyError, TypeError):  # there is none, or it is not ours
        pass
    return None


def machine() -> str:
    """Changes when the home moves to another machine, or this one gets another processor."""
    try:
        cpu = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        model = next(line for line in cpu.splitlines() if line.startswith("model name"))
    except (OSError, StopIteration):  # not Linux, or not x86
        model = platform.processor()
    return f"{platform.node()}: {model.partition(':')[2].strip() or model}"
