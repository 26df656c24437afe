"""`make demo`, all of it: a model is made, fine-tuned through the API, and has learned."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.trainyard.running.instances import ROOT, Instance

pytestmark = pytest.mark.slow


def test_the_demo_teaches_a_model_dates_and_leaves_nothing_running(tmp_path: Path) -> None:
    instance = Instance(tmp_path / "home")
    end = subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), "demo"],
        env=instance.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert end.returncode == 0, end.stdout + end.stderr
    verdict = re.search(r"held-out dates ([\d.]+)% -> ([\d.]+)%", end.stdout)
    assert verdict is not None, end.stdout
    before, after = map(float, verdict.groups())
    assert before < 5
    assert after > 90
    assert "demo-docstrings" in end.stdout
    assert instance.processes() == []
