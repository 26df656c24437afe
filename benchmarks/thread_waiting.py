"""What a short GOMP_SPINCOUNT is worth when other processes want the cores too.

``python benchmarks/thread_waiting.py``: milliseconds of a small forward and backward pass on all
cores, with threads that spin as long as they do by default and as long as the trainer lets them,
alone and beside busy processes. The two are measured in turn, several rounds; the median of the
ratios is what counts.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from contextlib import ExitStack

ROUNDS = 3
BUSY_PROCESSES = 4
DEFAULT: dict[str, str] = {}
OURS = {"GOMP_SPINCOUNT": "10000"}
PASS = """
import time, torch
net = torch.nn.Sequential(*[torch.nn.Linear(256, 256) for _ in range(8)])
rows = torch.randn(512, 256)
for _ in range(3):
    net(rows).sum().backward()
began = time.perf_counter()
for _ in range(20):
    net(rows).sum().backward()
print((time.perf_counter() - began) / 20 * 1000)
"""


def milliseconds(policy: dict[str, str]) -> float:
    environment = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    command = [sys.executable, "-c", PASS]
    return float(subprocess.check_output(command, env={**environment, **policy}, text=True))


def main() -> None:
    print("busy processes   default ms   ours ms   default / ours")
    for busy in (0, BUSY_PROCESSES):
        with ExitStack() as stack:
            for _ in range(busy):
                other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
                stack.callback(other.wait)
                stack.callback(other.kill)
            pairs = [(milliseconds(DEFAULT), milliseconds(OURS)) for _ in range(ROUNDS)]
        default, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(a / p for a, p in pairs)
        print(f"{busy:14}   {default:10.1f}   {ours:7.1f}   {ratio:14.1f}")


if __name__ == "__main__":
    main()
