"""One client on a connection that is kept alive, one request after the other."""

from __future__ import annotations

import http.client
import json
import statistics
import time
from dataclasses import dataclass, field

from benchmarks.latency.cases import Case


@dataclass
class Timing:
    """Milliseconds; one entry for each round."""

    p50s: list[float] = field(default_factory=list)
    p95s: list[float] = field(default_factory=list)

    @property
    def p50(self) -> float:
        return statistics.median(self.p50s)

    @property
    def p95(self) -> float:
        return statistics.median(self.p95s)


@dataclass
class Side:
    """A server of ``system`` with ``size`` rows, and what was measured of each of its cases."""

    system: str
    size: int
    port: int
    cases: list[Case]
    timings: list[Timing] = field(init=False)

    def __post_init__(self) -> None:
        self.timings = [Timing() for _ in self.cases]


def measure(side: Side, number: int, requests: int) -> None:
    """One round of one case, on a connection that has answered once."""
    case, timing = side.cases[number], side.timings[number]
    connection = http.client.HTTPConnection("127.0.0.1", side.port, timeout=120)
    try:
        ask(connection, case)
        taken = sorted(ask(connection, case) for _ in range(requests))
    finally:
        connection.close()
    timing.p50s.append(statistics.median(taken))
    timing.p95s.append(taken[-(-95 * requests // 100) - 1])


def ask(connection: http.client.HTTPConnection, case: Case) -> float:
    """Milliseconds from the request to the last byte of the answer, which must be a 200."""
    if case.changed:
        change(connection, case.changed)
    began = time.perf_counter()
    connection.request("GET", case.path, headers={"Cookie": case.cookie} if case.cookie else {})
    answer = connection.getresponse()
    body = answer.read()
    took = (time.perf_counter() - began) * 1000
    assert answer.status == 200, f"{case.path}: {answer.status} {body[:300]!r}"
    return took


def change(connection: http.client.HTTPConnection, path: str) -> None:
    body = json.dumps({"description": f"Changed at {time.time()}."})
    connection.request("PATCH", path, body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    assert answer.status == 200, f"{path}: {answer.status} {text[:300]!r}"


def answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
