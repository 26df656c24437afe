from __future__ import annotations

import os
import signal
import subprocess
import sys

import psutil
import pytest

from tests.trainyard.running.instances import wait_for
from trainyard.running import tether

TETHERED = [sys.executable, "-IS", tether.__file__]
SLEEPER = [sys.executable, "-c", "import time; print('here', flush=True); time.sleep(600)"]
# Starts what it is told to, says its process id, and waits to be killed.
PARENT = """
import subprocess, sys, time
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the parent-death signal is Linux's")
def test_what_is_tethered_dies_with_its_parent() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, *TETHERED, *SLEEPER], stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    with parent.stdout:
        child = psutil.Process(int(parent.stdout.readline()))
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    wait_for("the child's end", lambda: not child.is_running(), 10)


def test_the_exit_code_is_the_commands_own() -> None:
    command = [*TETHERED, sys.executable, "-c", "raise SystemExit(7)"]
    assert subprocess.run(command, check=False).returncode == 7
