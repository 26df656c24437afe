"""How fast, how soon and in how much memory we train, beside TRL and a plain loop.

``python benchmarks/train_throughput.py [--quick] [--sizes 5M,60M] [--methods lora,full]
[--rounds 3] [--device cuda --peak-tflops 989] [--write]``. Each contender is a process of its own,
on the same model, rows and settings; they take turns, several rounds, so that a machine that is
busy for a while slows all of them. A figure is the median over the rounds, a ratio the median of
the rounds' ratios. Ends with 1 where a bar is missed. ``--write`` keeps what it prints in
docs/performance.md.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import tempfile
from pathlib import Path

from benchmarks.throughput.contenders import Contender, Outcome, ours, ours_warm, script
from benchmarks.throughput.report import Comparison, bars, machine, table, write
from benchmarks.throughput.workload import SIZES, Workload, make_model, make_tokenizer, write_rows

QUICK_STEPS = 12


def main() -> int:
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="trainyard-throughput-") as name:
        folder = Path(name)
        rows = write_rows(folder / "rows.jsonl", make_tokenizer())
        comparisons = [
            compare(size, method, rows, folder / f"{size}-{method}", options)
            for size in options.sizes
            for method in options.methods
        ]
    verdicts = bars(comparisons)
    text = "\n".join(
        [machine(options), *table(comparisons, options.peak_tflops), "", *map(str, verdicts)]
    )
    print(text)
    if options.write:
        write(text)
    return 0 if all(verdict.kept for verdict in verdicts) else 1


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--sizes", type=_words, default=["5M", "60M"], help=", ".join(SIZES))
    parser.add_argument("--methods", type=_words, default=["lora", "full"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=min(os.cpu_count() or 1, 2))
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--peak-tflops", type=float, help="of the card in bfloat16, for its share")
    parser.add_argument("--quick", action="store_true", help="5M, LoRA, one round of few steps")
    parser.add_argument("--write", action="store_true", help="into docs/performance.md")
    options = parser.parse_args()
    if options.quick:
        options.sizes, options.methods, options.rounds = ["5M"], ["lora"], 1
    return options


def _words(words: str) -> list[str]:
    return words.split(",")


def compare(
    size: str, method: str, rows: Path, folder: Path, options: argparse.Namespace
) -> Comparison:
    work = Workload(
        model=str(folder / "model"),
        rows=str(rows),
        method=method,
        steps=QUICK_STEPS if options.quick else SIZES[size].steps,
        device=options.device,
        threads=options.threads,
        batch_size=options.batch_size,
    )
    make_model(SIZES[size], work.dtype, Path(work.model))
    outcomes: dict[str, list[Outcome]] = {}
    for number in range(options.rounds):
        for contender in contenders(options.device):
            print(f"{size} {method}, round {number + 1}: {contender.name} …", file=sys.stderr)
            outcome = contender.run(work, folder / f"{number}-{contender.name}".replace(" ", "-"))
            outcomes.setdefault(contender.name, []).append(outcome)
    return Comparison(size, method, outcomes)


def contenders(device: str) -> list[Contender]:
    trl = "benchmarks.throughput.with_trl"
    found = [
        Contender("ours", ours),
        Contender("TRL", script(trl)),
        Contender("TRL packed", script(trl, "--packing")),
        Contender("plain loop", script("benchmarks.throughput.plain")),
        Contender("ours, standing by", ours_warm),
    ]
    if device == "cuda" and importlib.util.find_spec("liger_kernel"):
        found.append(Contender("TRL with Liger", script(trl, "--liger")))
    return found


if __name__ == "__main__":
    sys.exit(main())
