"""Real small files: a Llama of 2,120 parameters, and rows to train it on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.registry.files import write_model, write_rows


@pytest.fixture
def tiny(home: Path) -> Path:
    """A model folder below the home's models/."""
    return write_model(home / "models" / "tiny")


@pytest.fixture
def rows(home: Path) -> Path:
    """A dataset folder below the home's datasets/, with two splits."""
    folder = home / "datasets" / "dates"
    write_rows(folder / "train.jsonl", [pair(n) for n in range(8)])
    write_rows(folder / "validation.jsonl", [pair(n) for n in range(8, 10)])
    return folder


def pair(number: int) -> dict[str, Any]:
    return {"prompt": f"day {number} of May", "completion": f"05-{number:02}"}
