"""What the house promises about itself, whatever is built in it."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import call_command

ROOT = Path(__file__).resolve().parents[2]
APPS = [
    "activity",
    "registry",
    "training",
    "platform/accounts",
    "platform/api",
    "platform/trainyard",
]


def environment() -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": f"{ROOT}:{ROOT / 'platform'}",
        "DJANGO_SETTINGS_MODULE": "trainyard.settings",
    }


def test_platform_is_a_plain_folder() -> None:
    assert not (ROOT / "platform" / "__init__.py").exists()


def test_the_standard_librarys_platform_is_the_one_that_is_imported() -> None:
    assert platform.system()
    assert not Path(platform.__file__).is_relative_to(ROOT / "platform")


@pytest.mark.django_db
def test_no_migration_is_missing() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


def test_the_web_process_imports_neither_torch_nor_its_friends() -> None:
    """All of it: the sockets, and every URL with its views."""
    program = (
        "import sys, trainyard.asgi, trainyard.urls;"
        "print(*{'torch', 'transformers', 'peft', 'datasets', 's3fs', 'botocore', 'aiohttp'}"
        "& set(sys.modules))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.strip() == ""


def test_the_worker_finds_every_task_without_torch() -> None:
    program = (
        "import sys; from trainyard import celery_app as app; app.loader.import_default_modules();"
        "assert not {'torch', 's3fs', 'botocore'} & set(sys.modules);"
        "print(*(name for name in app.tasks if not name.startswith('celery.')))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "training.reconcile" in answer.stdout.split()


def commands() -> list[str]:
    return sorted(
        path.stem
        for app in APPS
        for path in (ROOT / app / "management" / "commands").glob("*.py")
        if path.stem != "__init__"
    )


@pytest.mark.parametrize("command", commands())
def test_every_management_command_has_a_test(command: str) -> None:
    tests = [path.read_text() for path in (ROOT / "tests").rglob("test_*.py")]
    tests += [path.read_text() for path in (ROOT / "tests").rglob("instances.py")]
    called = re.compile(rf"""(manage\.py["')\s,]+|call_command\(\s*["'])["']?{command}["']""")
    assert any(called.search(text) for text in tests)


def test_no_tracked_file_is_a_binary_or_a_database() -> None:
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    unwanted = (".safetensors", ".bin", ".pt", ".onnx", ".sqlite3", ".db", ".gguf")
    assert [name for name in tracked if name.endswith(unwanted)] == []
