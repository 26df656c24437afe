"""Buckets on loopback: moto's S3, and around it the faults that a network or a server can have."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import boto3
from moto.server import create_backend_app
from werkzeug.serving import make_server

BUCKET = "rows"


@dataclass
class Fault:
    status: int = 0  # answered instead, with
    code: str = ""
    cut_after: int | None = None  # bytes of the body
    other: bytes | None = None  # the body is this
    without: str = ""  # this header
    headers: tuple[tuple[str, str], ...] = ()  # and these


class Buckets:
    def __init__(self) -> None:
        self.s3 = create_backend_app("s3")
        self.asked: list[dict[str, Any]] = []
        self.fault_of: Callable[[dict[str, Any]], Fault | None] = lambda request: None
        self.server = make_server("127.0.0.1", 0, self.answer, threaded=True)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    @cached_property
    def client(self) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self.address,
            region_name="us-east-1",
            aws_access_key_id="its-owner",
            aws_secret_access_key="its-owners-secret",
        )

    def bodies(self) -> list[dict[str, Any]]:
        """The requests for files' bytes."""
        return [
            r for r in self.asked if r["REQUEST_METHOD"] == "GET" and r["PATH_INFO"].count("/") > 1
        ]

    def answer(self, request: dict[str, Any], begin: Any) -> Iterable[bytes]:
        self.asked.append(request)
        fault = self.fault_of(request) or Fault()
        if fault.status:
            error = f"<Error><Code>{fault.code}</Code><Message>No.</Message></Error>".encode()
            begin(f"{fault.status} No", [("Content-Length", str(len(error))), *fault.headers])
            return [b"" if request["REQUEST_METHOD"] == "HEAD" else error]

        def with_fault(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            kept = [h for h in headers if h[0].lower() != fault.without.lower()]
            return begin(status, [*kept, *fault.headers], *more)

        body = b"".join(self.s3(request, with_fault))
        if fault.other is not None:
            return [fault.other]
        return [body[: fault.cut_after]]


@contextmanager
def running_buckets() -> Iterator[Buckets]:
    buckets = Buckets()
    thread = threading.Thread(target=buckets.server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield buckets
    finally:
        buckets.server.shutdown()
        buckets.server.server_close()
        thread.join()
