"""How fast a model is inspected and hashed, beside sha256sum over the same files.

    .venv/bin/python benchmarks/inspect_speed.py --gb 2

The files are written first and read once, so that both find them in the system's cache. Rounds
alternate; the table has medians. sha256sum is run as people run it, one after the other, and again
with one process a core. It ends with 1 where the bar is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from registry import files, inspect

SHARDS = 4
HIDDEN = 2048
CORES = len(os.sched_getaffinity(0))
OURS = "inspection and hashes"
BAR = 0.8  # of sha256sum's speed


def write_model(folder: Path, gigabytes: float) -> None:
    """Shards of float16 matrices with their index, as save_pretrained names them."""
    matrix = np.random.default_rng(0).integers(0, 2**16, (HIDDEN, HIDDEN), np.uint16)
    matrix = matrix.view(np.float16)
    each = max(1, round(gigabytes * 1e9 / SHARDS / matrix.nbytes))
    weight_map: dict[str, str] = {}
    for shard in range(1, SHARDS + 1):
        name = f"model-{shard:05}-of-{SHARDS:05}.safetensors"
        tensors = {f"model.layers.{shard}.{n}.weight": matrix.copy() for n in range(each)}
        save_file(tensors, folder / name, {"format": "pt"})
        weight_map |= dict.fromkeys(tensors, name)
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": HIDDEN}
    (folder / "config.json").write_text(json.dumps(config))
    index = {"weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def sha256sum(folder: Path, processes: int) -> None:
    names = "\0".join(sorted(path.name for path in folder.iterdir()))
    each = [] if processes == 1 else ["-n1"]
    subprocess.run(
        ["xargs", "-0", f"-P{processes}", *each, "sha256sum"],
        input=names.encode(),
        cwd=folder,
        stdout=subprocess.DEVNULL,
        check=True,
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--gb", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_model(folder, asked.gb)
        size = sum(path.stat().st_size for path in folder.iterdir())
        contenders: dict[str, Callable[[], object]] = {
            "sha256sum": lambda: sha256sum(folder, 1),
            f"sha256sum, {CORES} at once": lambda: sha256sum(folder, CORES),
            OURS: lambda: (
                inspect.model_folder(folder),
                files.hash_folder(folder),
            ),
            "inspection alone": lambda: inspect.model_folder(folder),
        }
        took: dict[str, list[float]] = {name: [] for name in contenders}
        sha256sum(folder, CORES)  # into the cache
        for _ in range(asked.rounds):
            for name, work in contenders.items():
                took[name].append(seconds(work))
        plain = statistics.median(took["sha256sum"])
        print(f"{size / 1e9:.2f} GB in {SHARDS} shards, {CORES} cores, {asked.rounds} rounds")
        print("| | seconds | GB/s | times sha256sum |\n| --- | --- | --- | --- |")
        for name, times in took.items():
            median = statistics.median(times)
            print(f"| {name} | {median:.2f} | {size / median / 1e9:.2f} | {plain / median:.2f} |")
        ratio = plain / statistics.median(took[OURS])
        is_missed = ratio < BAR
        print(f"{'missed' if is_missed else 'kept'}: {ratio:.2f} of sha256sum; the bar is {BAR}.")
        return int(is_missed)


if __name__ == "__main__":
    sys.exit(main())
