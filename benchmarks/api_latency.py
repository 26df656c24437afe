"""How long the API's lists and details take with 1,000, 10,000 and 100,000 rows of each kind.

``python benchmarks/api_latency.py [--sizes 1000,100000] [--databases sqlite] [--skip-mlflow]
[--write]``. Real web servers on databases of their own, and beside them MLflow's model registry
with as many models. All of them are up at once and take turns, so that a machine that is busy for
a while slows all of them. A figure is the median over the rounds of each round's p50 or p95, in
milliseconds. Ends with 1 where a bar is missed. ``--write`` keeps what it prints in
docs/performance.md.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.latency import mlflow
from benchmarks.latency.cases import cases
from benchmarks.latency.instance import arguments, filled, installation, running, served
from benchmarks.latency.measure import Side, measure
from benchmarks.latency.report import bars, machine, table, write
from tests.trainyard.running.instances import free_port

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trainyard-benchmarks"


def main() -> int:
    options = options_given()
    with tempfile.TemporaryDirectory(prefix="trainyard-latency-") as folder, ExitStack() as stack:
        sides = [
            stack.enter_context(ours(database, size, Path(folder)))
            for database in options.databases
            for size in options.sizes
        ]
        if not options.skip_mlflow:
            programs = mlflow.installed(CACHE)
            empty = mlflow.empty_database(programs, Path(folder))
            sides += [stack.enter_context(theirs(programs, empty, size)) for size in options.sizes]
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds} …", file=sys.stderr)
            take_turns(sides, options.requests)
    verdicts = bars(sides)
    text = "\n".join([machine(options), *table(sides), "", *(v.sentence for v in verdicts)])
    print(text)
    if options.write:
        write("api_latency", text)
    return 0 if all(verdict.kept for verdict in verdicts) else 1


def options_given() -> argparse.Namespace:
    databases = ["sqlite", "postgresql"]
    parser = arguments(__doc__, databases=databases, requests=30, of="kind in each round")
    parser.add_argument("--sizes", type=_sizes, default=[1_000, 10_000, 100_000])
    parser.add_argument("--skip-mlflow", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


def _sizes(words: str) -> list[int]:
    return sorted(int(word) for word in words.split(","))


@contextmanager
def ours(database: str, size: int, folder: Path) -> Iterator[Side]:
    """A Trainyard with so many rows."""
    with installation(database, folder / f"{database}-{size}") as environment:
        print(f"{database}: filling with {size:,} rows …", file=sys.stderr)
        asked = cases(filled(environment, "fill", str(size)))
        with served(environment) as port:
            yield Side(database, size, port, asked)


@contextmanager
def theirs(programs: Path, empty: Path, size: int) -> Iterator[Side]:
    print(f"MLflow: filling with {size:,} rows …", file=sys.stderr)
    port = free_port()
    command = mlflow.command(programs, mlflow.filled(empty, size), port)
    with running(command, dict(os.environ), port, "/health"):
        yield Side("mlflow", size, port, mlflow.cases(size))


def take_turns(sides: list[Side], requests: int) -> None:
    """One round: each case of each system, and of it each size right after the other."""
    for system in dict.fromkeys(side.system for side in sides):
        of_it = [side for side in sides if side.system == system]
        for case in range(len(of_it[0].cases)):
            for side in of_it:
                measure(side, case, requests)


if __name__ == "__main__":
    sys.exit(main())
