"""The import contracts of pyproject.toml hold, and each of them notices when it is broken."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ["activity", "platform", "registry", "training"]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code to plant imports in."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copy(ROOT / "pyproject.toml", folder)
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    return folder


def broken_contracts(folder: Path) -> list[str]:
    """The names of the contracts that the code in a folder breaks."""
    linter = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    environment = {**os.environ, "PYTHONPATH": f"{folder}:{folder / 'platform'}"}
    report = subprocess.run(
        [sys.executable, "-c", linter, "--no-cache"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Contracts: " in report.stdout, report.stdout + report.stderr
    return [line.split(" BROKEN")[0] for line in report.stdout.splitlines() if " BROKEN" in line]


def test_all_contracts_are_kept(copy: Path) -> None:
    assert broken_contracts(copy) == []


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("registry/models.py", "import training.models", "Imports run one way"),
        ("platform/accounts/models.py", "import activity.live", "Imports run one way"),
        ("training/trainer/loop.py", "import django.conf", "The trainer knows neither"),
        ("training/trainer/spec.py", "import registry.models", "The trainer knows neither"),
        ("training/preflight/facts.py", "import django.db", "Preflight is pure"),
        ("training/preflight/facts.py", "import celery", "Preflight is pure"),
        ("training/models/jobs.py", "import training.trainer.loop", "Of the trainer"),
        ("training/models/jobs.py", "import torch", "Only the trainer"),
        ("platform/trainyard/urls.py", "import transformers", "Only the trainer"),
    ],
)
def test_a_planted_import_is_noticed(copy: Path, module: str, line: str, contract: str) -> None:
    planted = copy / module
    before = planted.read_text()
    planted.write_text(f"{before}\n{line}\n")
    try:
        broken = broken_contracts(copy)
    finally:
        planted.write_text(before)
    assert any(name.startswith(contract) for name in broken), broken
