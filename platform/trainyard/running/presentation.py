"""Run the platform for as long as another command needs it."""

from __future__ import annotations

import http.client
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

from django.conf import settings

from trainyard.running import tether
from trainyard.running.preparation import CannotStart

READY_WITHIN_SECONDS = 60.0
ENDED_BY_CTRL_C = 128 + signal.SIGINT
ENDED_BY_SIGTERM = 128 + signal.SIGTERM


def present(command: list[str], url: str, *, stay: bool) -> int:
    """Start the platform, run ``command`` against it, and return the exit code of the command.

    With ``stay`` the platform goes on serving until Ctrl-C. Raises CannotStart when it does not
    come up; why not has then been said on the terminal.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(ENDED_BY_SIGTERM))
    code = ENDED_BY_CTRL_C
    with platform_running() as platform, suppress(KeyboardInterrupt):
        _wait_until_ready(platform, url)
        code = subprocess.run(command, check=False).returncode
        if stay:
            print(f"\nStill serving at {url} until Ctrl-C.", flush=True)  # noqa: T201
            platform.wait()
    return code


@contextmanager
def platform_running() -> Iterator[subprocess.Popen[bytes]]:
    run = [sys.executable, str(settings.BASE_DIR / "manage.py"), "run", "--quiet"]
    platform = subprocess.Popen([sys.executable, "-IS", tether.__file__, *run])
    try:
        yield platform
    finally:
        # It has had its own Ctrl-C from the terminal, and a second one must not leave it behind.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        platform.terminate()
        platform.wait()


def _wait_until_ready(platform: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + READY_WITHIN_SECONDS
    while not _ready(url):
        if platform.poll() is not None:
            raise CannotStart("The platform did not start.")
        if time.monotonic() > deadline:
            raise CannotStart(
                f"The platform was not ready after {READY_WITHIN_SECONDS:.0f} s; "
                f"see {settings.TRAINYARD_HOME / 'logs'}."
            )
        time.sleep(0.1)


def _ready(url: str) -> bool:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
