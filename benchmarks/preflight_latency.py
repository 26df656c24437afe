"""How long ``POST /api/experiments/preflight`` takes through the real web server.

``python -m benchmarks.preflight_latency [--databases sqlite] [--requests 200] [--write]``. Models
of four sizes, each asked with experiments that fit and with one that does not (whose fixes have
estimates of their own). No two requests are alike: length, batch and learning rate differ, so that
nothing can be remembered but what the database knows. One client on a connection that is kept
alive. Ends with 1 where a bar is missed. ``--write`` keeps what it prints in docs/performance.md.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks.latency.instance import arguments, filled, installation, served
from benchmarks.latency.report import write

P95_MS = 20


@dataclass(frozen=True)
class Case:
    """``fits`` is what the answer has to say, so that it is known what was measured."""

    model: str
    recipe: str
    fits: bool
    resources: dict[str, Any]

    @property
    def name(self) -> str:
        gpus = self.resources["gpus"]
        where = f"{gpus} × H100" if gpus else "CPU"
        strategy = f", {self.resources['strategy']}" if gpus > 1 else ""
        refused = "" if self.fits else ", does not fit"
        return f"{self.model}, {self.recipe}, {where}{strategy}{refused}"


CASES = [
    Case("5M", "full", True, {"gpus": 0}),
    Case("8B", "lora", True, {"gpus": 1, "gpu_type": "H100-80GB", "mixed_precision": "bf16"}),
    Case("8B", "full", False, {"gpus": 1, "gpu_type": "H100-80GB", "mixed_precision": "bf16"}),
    *(
        Case(
            model,
            recipe,
            fits,
            {"gpus": 8, "gpu_type": "H100-80GB", "mixed_precision": "bf16", "strategy": "zero3"},
        )
        for model, recipe, fits in (
            ("70B", "lora", True),
            ("70B", "full", False),
            ("8x7B", "lora", True),
        )
    ),
]


@dataclass(frozen=True)
class Row:
    """Milliseconds."""

    case: Case
    p50: float
    p95: float


def main() -> int:
    databases = ["sqlite", "postgresql"]
    options = arguments(__doc__, databases=databases, requests=200, of="case").parse_args()
    tables: dict[str, list[Row]] = {}
    with tempfile.TemporaryDirectory(prefix="trainyard-preflight-") as folder:
        for database in options.databases:
            with server(database, Path(folder)) as (port, facts):
                tables[database] = [measure(port, case, facts, options.requests) for case in CASES]
    kept, text = report(tables, options)
    print(text)
    if options.write:
        write("preflight_latency", text)
    return 0 if kept else 1


@contextmanager
def server(database: str, folder: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    files = folder / f"{database}-files"
    files.mkdir()
    with installation(database, folder / database) as environment:
        facts = filled(environment, "fill_preflight", str(files))
        with served(environment) as port:
            yield port, facts


def measure(port: int, case: Case, facts: dict[str, Any], requests: int) -> Row:
    """The first answer, which counts the tokens of the rows, is not among the measured ones."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        ask(connection, case, facts, 0)
        taken = sorted(ask(connection, case, facts, number) for number in range(1, requests + 1))
    finally:
        connection.close()
    return Row(case, statistics.median(taken), taken[-(-95 * requests // 100) - 1])


def ask(
    connection: http.client.HTTPConnection, case: Case, facts: dict[str, Any], number: int
) -> float:
    """How long it took; raises where the answer is not that of the case."""
    body = json.dumps(
        {
            "base_model_id": facts["models"][case.model],
            "dataset_id": facts["dataset"],
            "recipe_id": facts["recipes"][case.recipe],
            "train": {
                "max_steps": 1000 + number,
                "global_batch_size": 8 * (1 + number % 4),
                "max_length": 512 + number,
                "learning_rate": 1e-4 + number * 1e-7,
                "gradient_checkpointing": True,
            },
            "resources": case.resources,
        }
    )
    began = time.perf_counter()
    connection.request(
        "POST", "/api/experiments/preflight", body, {"Content-Type": "application/json"}
    )
    answer = connection.getresponse()
    text = answer.read()
    took = (time.perf_counter() - began) * 1000
    told = json.loads(text)
    assert answer.status == 200, f"{case.name}: {answer.status} {told}"
    assert told["rows"]["basis"] in ("counted", "sampled"), told["rows"]
    assert told["ok"] == case.fits, f"{case.name}: {told['errors']}"
    return took


def report(tables: dict[str, list[Row]], options: argparse.Namespace) -> tuple[bool, str]:
    every = [(row, database) for database, rows in tables.items() for row in rows]
    slowest, where = max(every, key=lambda one: one[0].p95)
    kept = slowest.p95 <= P95_MS
    rows = [
        f"| {case.name} | "
        + " | ".join(f"{table[n].p50:.1f} / {table[n].p95:.1f}" for table in tables.values())
        + " |"
        for n, case in enumerate(CASES)
    ]
    return kept, "\n".join(
        [
            f"`python -m benchmarks.preflight_latency {' '.join(sys.argv[1:])}`, {date.today()}, "
            f"{os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}; "
            f"{options.requests} requests of each kind. p50 / p95 in milliseconds.",
            "",
            "| experiment | " + " | ".join(tables) + " |",
            "| --- |" + " ---: |" * len(tables),
            *rows,
            "",
            f"- {'kept' if kept else '**missed**'}: the slowest p95 is {slowest.p95:.1f} ms "
            f"({slowest.case.name}, {where}); the bar is {P95_MS} ms.",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
