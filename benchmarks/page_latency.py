"""How soon each page begins to come, and how much of it comes, with 100,000 rows behind it.

``python benchmarks/page_latency.py [--size 100000] [--databases sqlite,postgresql] [--requests 20]
[--write]``. A real web server on a database of its own; one client. The time is that to the first
byte of the answer, the weight that of the page with all that it loads from us, but for the chart
library. Ends with 1 where a bar is missed. ``--write`` keeps what it prints in docs/performance.md.
"""

from __future__ import annotations

import argparse
import http.client
import os
import platform
import re
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from benchmarks.latency.instance import arguments, filled, installation, served
from benchmarks.latency.pages import pages
from benchmarks.latency.report import write

FIRST_BYTE_P95_MS = 100
WEIGHT_KB = 250
CHART_LIBRARY = re.compile(r"/chart[^/]*/chart[^/]*\.js$")
LOADS = re.compile(r"<(?:script|link|img)[^>]*? (?:src|href)=\"([^\"]+)\"")
IMPORTS = re.compile(r"(?:import|from) \"(\./[^\"]+)\"")


@dataclass(frozen=True)
class Row:
    """One page. Times in milliseconds."""

    name: str
    p50: float
    p95: float
    html_kb: float
    weight_kb: float


def main() -> int:
    parser = arguments(__doc__, databases=["sqlite"], requests=20, of="page")
    parser.add_argument("--size", type=int, default=100_000)
    options = parser.parse_args()
    tables: dict[str, list[Row]] = {}
    with tempfile.TemporaryDirectory(prefix="trainyard-pages-") as folder, ExitStack() as stack:
        environments = {
            database: stack.enter_context(installation(database, Path(folder) / database))
            for database in options.databases
        }
        # Both at once, each on a core of its own; nothing is measured meanwhile.
        with ThreadPoolExecutor() as pool:
            filling = partial(filled_wholly, size=options.size)
            every = list(pool.map(filling, environments, environments.values()))
        for (database, environment), facts in zip(environments.items(), every, strict=True):
            with served(environment) as port:
                tables[database] = [
                    measure(database, port, name, path, options.requests)
                    for name, path in pages(facts)
                ]
    kept, text = report(tables, options)
    print(text)
    if options.write:
        write("page_latency", text)
    return 0 if kept else 1


def filled_wholly(database: str, environment: dict[str, str], size: int) -> dict[str, object]:
    facts: dict[str, object] = {}
    for script in ("fill", "fill_jobs", "fill_rest"):
        print(f"{database}: {script} with {size:,} rows …", file=sys.stderr)
        facts |= filled(environment, script, str(size))
    return facts


def measure(database: str, port: int, name: str, path: str, requests: int) -> Row:
    """On a connection that has answered once. A page that leads to another is that other."""
    print(f"{database}: {name} …", file=sys.stderr)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        path = _settled(connection, path)
        _, html = _ask(connection, path)
        taken = sorted(_ask(connection, path)[0] for _ in range(requests))
        loaded = _loaded(connection, path, html)
    finally:
        connection.close()
    return Row(
        name=name,
        p50=statistics.median(taken),
        p95=taken[-(-95 * requests // 100) - 1],
        html_kb=len(html) / 1024,
        weight_kb=(len(html) + loaded) / 1024,
    )


def _settled(connection: http.client.HTTPConnection, path: str) -> str:
    for _ in range(5):
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        if answer.status not in (301, 302):
            return path
        path = urlsplit(answer.headers["Location"])._replace(scheme="", netloc="").geturl()
    raise AssertionError(f"{path} leads on and on")


def _ask(connection: http.client.HTTPConnection, path: str) -> tuple[float, bytes]:
    began = time.perf_counter()
    connection.request("GET", path)
    answer = connection.getresponse()
    first = answer.read(1)
    took = (time.perf_counter() - began) * 1000
    body = first + answer.read()
    assert answer.status == 200, f"{path}: {answer.status} {body[:300]!r}"
    return took, body


def _loaded(connection: http.client.HTTPConnection, path: str, html: bytes) -> int:
    """Bytes of styles, scripts and pictures, as they come over the line."""
    wanted = [urljoin(path, found) for found in LOADS.findall(html.decode())]
    seen: dict[str, int] = {}
    while wanted:
        address = urlsplit(wanted.pop())._replace(fragment="").geturl()
        is_ours = address.startswith("/static/")
        if not is_ours or address in seen or CHART_LIBRARY.search(address):
            continue
        connection.request("GET", address)
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == 200, f"{address}: {answer.status}"
        seen[address] = len(body)
        if address.endswith(".js"):
            wanted += [urljoin(address, found) for found in IMPORTS.findall(body.decode())]
    return sum(seen.values())


def report(tables: dict[str, list[Row]], options: argparse.Namespace) -> tuple[bool, str]:
    lines = [
        f"`python benchmarks/page_latency.py {' '.join(sys.argv[1:])}`, {date.today()}, "
        f"{os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}; "
        f"load {os.getloadavg()[0]:.1f} at the end; {options.size:,} of all that is listed: "
        "models, adapters, datasets, experiments, jobs, steps of one job, recipes, transfers, "
        "files of one transfer, prompts, uploads, deliveries of one webhook, checkpoints, "
        "artifacts, lines of the feed; "
        f"{options.requests} requests of each page. Time to the first byte in milliseconds.",
        "",
    ]
    names = [row.name for row in next(iter(tables.values()))]
    lines.append("| page | " + " | ".join(f"{db} p50 / p95" for db in tables) + " | HTML | all |")
    lines.append("| --- |" + " ---: |" * (len(tables) + 2))
    for number, name in enumerate(names):
        rows = [table[number] for table in tables.values()]
        figures = " | ".join(f"{row.p50:.0f} / {row.p95:.0f}" for row in rows)
        lines.append(
            f"| {name} | {figures} | {rows[0].html_kb:.0f} KB | {rows[0].weight_kb:.0f} KB |"
        )
    every = [(row, f"{row.name}, {db}") for db, table in tables.items() for row in table]
    slow = _verdict(every, "p95", FIRST_BYTE_P95_MS, "ms", "the slowest p95 is")
    heavy = _verdict(every, "weight_kb", WEIGHT_KB, "KB", "the heaviest, without charts, has")
    lines += ["", *slow, *heavy]
    return not any("missed" in line for line in (*slow, *heavy)), "\n".join(lines)


def _verdict(every: list[tuple[Row, str]], what: str, bar: int, unit: str, says: str) -> list[str]:
    """A line for each page that misses the bar; where none does, one for the nearest to it."""
    ranked = sorted(every, key=lambda one: -getattr(one[0], what))
    missed = [one for one in ranked if getattr(one[0], what) > bar]
    word = "**missed**" if missed else "kept"
    return [
        f"- {word}: {says} {getattr(row, what):.0f} {unit} ({where}); the bar is {bar} {unit}."
        for row, where in missed or ranked[:1]
    ]


if __name__ == "__main__":
    sys.exit(main())
