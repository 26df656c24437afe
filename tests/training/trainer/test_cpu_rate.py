"""How fast the CPU is: measured by a trainer that stands by, and kept for this machine only."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from training.trainer import cpu_rate


def test_it_is_measured_and_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cache" / "cpu_rate.json"
    monkeypatch.setitem(os.environ, cpu_rate.FILE, str(path))
    monkeypatch.setitem(os.environ, cpu_rate.THREADS, "1")
    cpu_rate.note()
    found = cpu_rate.noted(path, threads=1)
    assert found is not None
    assert 0.5 < found < 5000  # from a Raspberry Pi to more than any core there is
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_the_best_rate_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cpu_rate.json"
    monkeypatch.setitem(os.environ, cpu_rate.FILE, str(path))
    monkeypatch.setitem(os.environ, cpu_rate.THREADS, "2")
    for measured, kept in ((80.0, 80.0), (60.0, 80.0), (95.0, 95.0)):
        monkeypatch.setattr(cpu_rate, "measured_gflops", lambda threads, rate=measured: rate)
        cpu_rate.note()
        assert cpu_rate.noted(path, threads=2) == kept


def test_nothing_is_measured_where_nobody_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(os.environ, cpu_rate.FILE, raising=False)
    monkeypatch.setattr(cpu_rate, "measured_gflops", lambda threads: pytest.fail("it was"))
    cpu_rate.note()


@pytest.mark.parametrize(
    "words",
    [
        "",
        "[1]",
        "{}",
        json.dumps({"machine": "another", "threads": 2, "gflops": 9.0}),
        json.dumps({"machine": cpu_rate.machine(), "threads": 1, "gflops": 9.0}),
        json.dumps({"machine": cpu_rate.machine(), "threads": 2, "gflops": None}),
    ],
)
def test_what_another_machine_or_nobody_has_noted_does_not_count(
    tmp_path: Path, words: str
) -> None:
    path = tmp_path / "cpu_rate.json"
    assert cpu_rate.noted(path, threads=2) is None
    path.write_text(words)
    assert cpu_rate.noted(path, threads=2) is None
