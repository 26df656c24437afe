"""A Trainyard of its own to be measured: an empty database, what fills it, its web server."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.latency.measure import answers
from tests.postgresql import own_database
from tests.trainyard.running.instances import ROOT, free_port, wait_for

START_SECONDS = 120
OUTSIDE = {"DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL", "TRAINYARD_MODE"}


def arguments(
    about: str | None, *, databases: list[str], requests: int, of: str
) -> argparse.ArgumentParser:
    """What every such benchmark can be told. ``about`` is its docstring."""
    parser = argparse.ArgumentParser(description=(about or "").split("\n")[0])
    parser.add_argument("--databases", type=lambda words: words.split(","), default=databases)
    parser.add_argument("--requests", type=int, default=requests, help=f"of each {of}")
    parser.add_argument("--write", action="store_true", help="into docs/performance.md")
    return parser


@contextmanager
def installation(database: str, home: Path) -> Iterator[dict[str, str]]:
    """Its environment; its database is empty, and gone after the block."""
    environment = {name: value for name, value in os.environ.items() if name not in OUTSIDE}
    environment |= {"TRAINYARD_HOME": str(home), "PORT": str(free_port())}
    if database != "postgresql":
        yield environment
        return
    with own_database() as url:
        yield {**environment, "DATABASE_URL": url}


def filled(environment: dict[str, str], script: str, *arguments: str) -> dict[str, Any]:
    """What one of the scripts beside this one, having filled it, says of it."""
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.latency.{script}", *arguments],
        env=environment,
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


@contextmanager
def served(environment: dict[str, str]) -> Iterator[int]:
    """Its web server as `manage.py run` starts it: the port."""
    command = [sys.executable, "-m", "benchmarks.latency.serve"]
    port = int(environment["PORT"])
    with running(command, environment, port, "/healthz"):
        yield port


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
