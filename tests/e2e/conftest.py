"""A real server in a home of its own, a real browser before it, and a process that plays worker."""

from __future__ import annotations

import multiprocessing
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.browsing import Visitor, chromium
from tests.e2e.home import prepare

ROOT = Path(__file__).resolve().parents[2]
OUTSIDE = ("DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL", "DJANGO_SETTINGS_MODULE")


class Site:
    """The web server of one home. It can be stopped and started again on the same port."""

    def __init__(self, home: Path, broker_url: str) -> None:
        self.home = home
        self.port = _free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        kept = {name: value for name, value in os.environ.items() if name not in OUTSIDE}
        self.environment = {
            **kept,
            "DJANGO_SETTINGS_MODULE": "trainyard.settings",
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'platform'}",
            "TRAINYARD_HOME": str(home),
            "REDIS_URL": broker_url,
            "PORT": str(self.port),
            "HF_ENDPOINT": "http://127.0.0.1:9",  # no hub is asked; nobody listens there
        }
        self._pool = ProcessPoolExecutor(
            1, multiprocessing.get_context("spawn"), prepare, (self.environment,)
        )
        self._server: subprocess.Popen[bytes] | None = None

    def do(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call one of `tests.e2e.rows` in the worker's process."""
        return self._pool.submit(work, *args, **kwargs).result(60)

    def start(self) -> None:
        if self._server is not None and self._server.poll() is None:
            return
        with open(self.home / "web.log", "ab") as log:
            self._server = subprocess.Popen(
                [
                    *(sys.executable, "-m", "uvicorn", "trainyard.asgi:application"),
                    *("--port", str(self.port), "--lifespan", "off"),
                ],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 90
        while not self._answers():
            assert time.monotonic() < deadline, (self.home / "web.log").read_text()
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.address}/healthz", timeout=2):
                return True
        except OSError:
            return False

    def kill(self) -> None:
        """As a crash would: no goodbye to open sockets."""
        if self._server is not None:
            self._server.kill()
            self._server.wait(10)

    def close(self) -> None:
        self.kill()
        self._pool.shutdown()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, broker_url: str) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("home"), broker_url)
    try:
        site.do(str)  # the database is there before the server is
        site.start()
        yield site
    finally:
        site.close()


# Not for the whole session: while Playwright's loop runs, Django refuses other tests its database.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def visitor(browser: Browser, site: Site) -> Iterator[Visitor]:
    """Any complaint that a test does not expect and take away fails it."""
    visitor = Visitor(browser, site.address)
    yield visitor
    visitor.leave()
    site.start()  # a test that failed while it was down has failed alone
    assert visitor.complaints == []
