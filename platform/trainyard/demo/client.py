"""A client of the public REST API, with nothing but the standard library."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlencode

# A process of the platform that died is back within seconds.
PATIENCE_SECONDS = 30.0
PAUSE_SECONDS = 0.5
TIMEOUT_SECONDS = 30.0


class Refused(Exception):
    """The platform said no, in its own words."""


class Unreachable(Exception):
    """Nobody answers, or what answers is not the platform."""


class Client:
    def __init__(self, base_url: str, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self.base_url = base_url.rstrip("/")
        self.patience_seconds = patience_seconds

    def get(self, path: str, **query: str) -> Any:
        """Asks again while nobody answers, up to ``patience_seconds``. Raises Refused (4xx) and
        Unreachable."""
        deadline = time.monotonic() + self.patience_seconds
        while True:
            try:
                return self._send("GET", path + ("?" + urlencode(query) if query else ""))
            except Unreachable:
                if time.monotonic() > deadline:
                    raise
                time.sleep(PAUSE_SECONDS)

    def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """Asks once, since asking twice could make two. Raises Refused and Unreachable."""
        return self._send("POST", path, body or {})

    def _send(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        request = urllib.request.Request(
            self.base_url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Accept": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                said = _words(error.read())
            if error.code >= 500:
                raise Unreachable(f"{method} {path}: {error.code} {said}") from error
            raise Refused(f"{method} {path}: {error.code} {said}") from error
        except (OSError, ValueError) as error:  # URLError, a time-out, and JSON that is none
            raise Unreachable(f"{method} {path}: {error}") from error


def _words(raw: bytes) -> str:
    """The sentence of an error envelope, or the beginning of whatever came instead."""
    try:
        return str(json.loads(raw)["error"])
    except (ValueError, KeyError, TypeError):
        return raw[:200].decode("utf-8", "replace")
