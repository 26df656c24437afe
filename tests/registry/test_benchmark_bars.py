"""A benchmark whose bar is missed says so, also to whoever started it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks import doctor_speed, inspect_speed

FOUND = json.dumps({"counts": {}, "duplicates": {"compared": 0}})


@pytest.mark.parametrize(
    ("rows", "seconds", "memory_mb", "told"),
    [
        (1_000_000, 60.0, 600.0, []),
        (1_000_000, 60.1, 100.0, ["60.1 s for 1,000,000 rows"]),
        (2_000_000, 119.0, 100.0, []),
        (1000, 99.0, 601.0, ["601 MB"]),
        (1_000_000, 99.0, 601.0, ["99.0 s for 1,000,000 rows", "601 MB"]),
    ],
)
def test_the_doctors_bars(rows: int, seconds: float, memory_mb: float, told: list[str]):
    missed = doctor_speed.missed(rows, seconds, memory_mb)
    assert len(missed) == len(told)
    assert all(words in line for words, line in zip(told, missed, strict=True))


@pytest.mark.parametrize(("memory_mb", "ends_with"), [(600.0, 0), (601.0, 1)])
def test_the_doctors_benchmark_ends_with_it(
    memory_mb: float, ends_with: int, monkeypatch: Any, capsys: Any
):
    answer = (1.0, 1.0, memory_mb, FOUND)
    monkeypatch.setattr(doctor_speed, "measured", lambda *arguments: answer)
    monkeypatch.setattr(doctor_speed, "python_pass", lambda path: 1.0)
    assert doctor_speed.main(1000) == ends_with
    assert ("missed" in capsys.readouterr().out) == bool(ends_with)


@pytest.mark.parametrize(("ours", "ends_with"), [(1.0, 0), (1.24, 0), (1.26, 1)])
def test_the_inspections_bar(ours: float, ends_with: int, monkeypatch: Any, capsys: Any):
    """Ours takes so many times as long as sha256sum."""
    each = iter([1.0, 1.0, ours, 0.1] * 3)
    monkeypatch.setattr(inspect_speed, "seconds", lambda work: next(each))
    assert inspect_speed.main(["--gb", "0.001", "--rounds", "3"]) == ends_with
    assert ("missed" in capsys.readouterr().out) == bool(ends_with)
