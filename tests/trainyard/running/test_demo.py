"""`manage.py demo` around a command that stands for the demo: the demo itself has its own tests."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.trainyard.running.instances import ROOT, Instance

# Asks the platform for its health and ends with a code of its own.
VISIT = """
import sys, urllib.request
with urllib.request.urlopen(sys.argv[1] + "/readyz") as answer:
    sys.exit(7 if answer.status == 200 else 1)
"""
PRESENT = f"""
import sys
import django
django.setup()
from trainyard.running.presentation import present
sys.exit(present([sys.executable, "-c", {VISIT!r}, sys.argv[1]], sys.argv[1], stay=False))
"""


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Instance]:
    instance = Instance(tmp_path / "home")
    yield instance
    instance.kill_everything()


def test_the_demos_exit_code_is_the_verdict_and_nothing_goes_on_without_a_terminal(
    instance: Instance,
) -> None:
    environment = {
        **instance.environment,
        "DJANGO_SETTINGS_MODULE": "trainyard.settings",
        "PYTHONPATH": f"{ROOT}:{ROOT / 'platform'}",
    }
    end = subprocess.run(
        [sys.executable, "-c", PRESENT, f"http://127.0.0.1:{instance.port}"],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert end.returncode == 7, end.stdout + end.stderr
    assert "Trainyard is at" in end.stdout
    assert "web    |" not in end.stdout, "the programs' output would tear the demo's apart"
    assert instance.processes() == []


def test_a_taken_port_is_refused(instance: Instance) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        instance.port = taken.getsockname()[1]
        end = subprocess.run(
            [sys.executable, str(ROOT / "manage.py"), "demo"],
            env=instance.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert end.returncode == 1
    assert f"Port {instance.port} of 127.0.0.1 cannot be had" in end.stderr
    assert f"PORT={instance.port + 1} make demo" in end.stderr
