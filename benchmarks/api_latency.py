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
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.latency import mlflow
from benchmarks.latency.cases import cases
from benchmarks.latency.measure import Side, answers, measure
from benchmarks.latency.report import bars, machine, table, write
from tests.postgresql import own_database
from tests.trainyard.running.instances import ROOT, free_port, wait_for

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trainyard-benchmarks"
START_SECONDS = 120


def main() -> int:
    options = arguments()
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
        write(text)
    return 0 if all(verdict.kept for verdict in verdicts) else 1


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--sizes", type=_sizes, default=[1_000, 10_000, 100_000])
    parser.add_argument("--databases", type=_words, default=["sqlite", "postgresql"])
    parser.add_argument("--skip-mlflow", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=30, help="of each kind in each round")
    parser.add_argument("--write", action="store_true", help="into docs/performance.md")
    return parser.parse_args()


def _sizes(words: str) -> list[int]:
    return sorted(int(word) for word in words.split(","))


def _words(words: str) -> list[str]:
    return words.split(",")


@contextmanager
def ours(database: str, size: int, folder: Path) -> Iterator[Side]:
    """A Trainyard with so many rows, and its web server as `manage.py run` starts it."""
    home, port = folder / f"{database}-{size}", free_port()
    outside = {"DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL", "TRAINYARD_MODE"}
    environment = {name: value for name, value in os.environ.items() if name not in outside}
    environment |= {"TRAINYARD_HOME": str(home), "PORT": str(port)}
    with ExitStack() as stack:
        if database == "postgresql":
            environment["DATABASE_URL"] = stack.enter_context(own_database())
        print(f"{database}: filling with {size:,} rows …", file=sys.stderr)
        fill = [sys.executable, "-m", "benchmarks.latency.fill", str(size)]
        filled = subprocess.run(
            fill, env=environment, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
        )
        serve = [sys.executable, "-m", "benchmarks.latency.serve"]
        asked = cases(json.loads(filled.stdout))
        stack.enter_context(running(serve, environment, port, "/healthz"))
        yield Side(database, size, port, asked)


@contextmanager
def theirs(programs: Path, empty: Path, size: int) -> Iterator[Side]:
    print(f"MLflow: filling with {size:,} rows …", file=sys.stderr)
    port = free_port()
    command = mlflow.command(programs, mlflow.filled(empty, size), port)
    with running(command, dict(os.environ), port, "/health"):
        yield Side("mlflow", size, port, mlflow.cases(size))


@contextmanager
def running(
    command: list[str], environment: dict[str, str], port: int, path: str
) -> Iterator[None]:
    """A server for as long as the block lasts. It gets a session of its own, which goes with it."""
    process = subprocess.Popen(
        command,
        env=environment,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_for(command[0], lambda: answers(port, path), START_SECONDS)
        yield
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)


def take_turns(sides: list[Side], requests: int) -> None:
    """One round: each case of each system, and of it each size right after the other."""
    for system in dict.fromkeys(side.system for side in sides):
        of_it = [side for side in sides if side.system == system]
        for case in range(len(of_it[0].cases)):
            for side in of_it:
                measure(side, case, requests)


if __name__ == "__main__":
    sys.exit(main())
