"""One file from a web address that somebody has entered, without becoming their tool against our
network: `activity.outgoing.http` looks at every address that a name resolves to, and the connection
is made to one that was looked at, for each redirect anew.

A web server knows no hash of its file. It is compared with what the server called it (ETag,
Last-Modified) and how large it said it was when the transfer began.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import httpcore2 as httpcore
from django.conf import settings

from activity.outgoing.http import NotAllowed, check_url, resolve
from registry.hub.models import Transfer
from registry.hub.selection import Plan, RemoteFile, choose
from registry.hub.sources import PARTIAL_CONTENT, Opened, Source, begins_at
from registry.hub.trouble import Trouble, asked_to_wait

MOST_REDIRECTS = 5
REDIRECTS = (301, 302, 303, 307, 308)
PASSING = (408, 425, 429, 500, 502, 503, 504)


class Guarded(httpcore.NetworkBackend):
    """Connects to addresses that were looked at, and to no others."""

    def __init__(self) -> None:
        self.plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        *others, last = map(str, resolve(host, port))
        for address in others:
            try:
                return self.plain.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return self.plain.connect_tcp(last, port, timeout, local_address, socket_options)

    def connect_unix_socket(self, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        raise NotAllowed("Only addresses of the network.")


class WebSource(Source):
    def __init__(self, transfer: Transfer) -> None:
        self.transfer = transfer

    def plan(self) -> Plan:
        with self._answer({"range": "bytes=0-0"}) as answer:
            headers = _plain(answer)
            size = _size(answer.status, headers)
        if size is None:
            raise Trouble(
                "unknown_size",
                f"{self._host()} does not say how large the file is.",
                "Fetch it yourself, and upload it.",
            )
        file = RemoteFile(name_in(self.transfer.url), size)
        chosen, left_out = choose(self.transfer.makes, [file], [], [])
        return Plan(_validator(headers, size), "", chosen, left_out)

    @contextmanager
    def open(self, plan: Plan, path: str, size_bytes: int, offset: int) -> Iterator[Opened]:
        wanted = {"range": f"bytes={offset}-{size_bytes - 1}"} if offset else {}
        with self._answer(wanted) as answer:
            headers = _plain(answer)
            size = _size(answer.status, headers)
            if _validator(headers, size_bytes if size is None else size) != plan.commit:
                raise Trouble(
                    "changed",
                    f"The file at {self._host()} has changed since the transfer began.",
                    "Cancel this transfer and start a new one.",
                    keep=False,
                )
            said = headers.get("content-range", "")
            begin = begins_at(answer.status, said, offset, self._host())
            yield begin, _blocks(answer)

    def _host(self) -> str:
        return urlsplit(self.transfer.url).hostname or "the server"

    @contextmanager
    def _answer(self, headers: dict[str, str]) -> Iterator[httpcore.Response]:
        """Where the redirects end. Raises Trouble, also for what the reader meets."""
        ours = [("user-agent", "Trainyard/0.1"), ("accept-encoding", "identity")]
        sent = [*ours, *headers.items()]
        silence = settings.TRAINYARD_TRANSFER_SILENCE_SECONDS
        timeout = dict.fromkeys(("connect", "read", "write", "pool"), silence)
        url = self.transfer.url
        try:
            for _ in range(MOST_REDIRECTS + 1):
                check_url(url)
                with (
                    httpcore.ConnectionPool(network_backend=Guarded(), retries=0) as pool,
                    pool.stream(
                        "GET", url, headers=sent, extensions={"timeout": timeout}
                    ) as answer,
                ):
                    if answer.status not in REDIRECTS:
                        self._refuse(answer)
                        yield answer
                        return
                    url = _next(url, _plain(answer))
            raise NotAllowed(f"It redirects more than {MOST_REDIRECTS} times.")
        except NotAllowed as error:
            raise Trouble("not_allowed", f"{error}", "Take another address.") from error
        except httpcore.TimeoutException as error:
            message = f"{self._host()} was silent for {silence} seconds."
            raise Trouble("network", message, "Try again later.", passes=True) from error
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            message = f"The connection to {self._host()} failed: {error or type(error).__name__}."
            raise Trouble("network", message, "Is the address right?", passes=True) from error

    def _refuse(self, answer: httpcore.Response) -> None:
        status, host = answer.status, self._host()
        if status < 400 or status == 416:
            return
        if status in (404, 410):
            raise Trouble("missing", f"{host} has no such file ({status}).", "Look at the address.")
        if status in (401, 403):
            advice = "An address that carries its own permission may have expired."
            raise Trouble("forbidden", f"{host} does not let us have it ({status}).", advice)
        raise Trouble(
            "rate_limited" if status == 429 else "server_error",
            f"{host} answered {status}.",
            "Try again later.",
            passes=status in PASSING,
            wait_seconds=asked_to_wait(_plain(answer).get("retry-after", "")),
        )


def name_in(url: str) -> str:
    """The last part of its path, as a file may be called."""
    name = unquote(urlsplit(url).path).rpartition("/")[2]
    return re.sub(r"[^\w.-]+", "_", name, flags=re.ASCII).lstrip(".")[:200] or "file"


def _plain(answer: httpcore.Response) -> dict[str, str]:
    return {name.decode("latin-1").lower(): v.decode("latin-1") for name, v in answer.headers}


def _size(status: int, headers: dict[str, str]) -> int | None:
    """Of the whole file."""
    said = headers.get("content-length", "")
    if status == PARTIAL_CONTENT:
        said = headers.get("content-range", "").rpartition("/")[2]
    return int(said) if said.isascii() and said.isdigit() else None


def _validator(headers: dict[str, str], size: int) -> str:
    """What the server calls this version of the file, as short as a commit."""
    said = headers.get("etag", "").removeprefix("W/") or headers.get("last-modified", "")
    return hashlib.sha1(f"{said} {size}".encode(), usedforsecurity=False).hexdigest()


def _next(url: str, headers: dict[str, str]) -> str:
    following = urljoin(url, headers.get("location", ""))
    if url.startswith("https:") and not following.startswith("https:"):
        raise NotAllowed("It redirects from https to something less.")
    return following


def _blocks(answer: httpcore.Response) -> Iterator[bytes]:
    if answer.status == 416:
        return iter(())
    stream: Iterator[bytes] = answer.iter_stream()
    return stream
