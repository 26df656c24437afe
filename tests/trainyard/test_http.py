"""HTTP comes through a few threads: what they are given, and what they keep."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from django.core.wsgi import get_wsgi_application

from registry.models import Dataset
from trainyard.http import InThreads

ROW = b'{"prompt": "a", "completion": "b"}\n'


def form(file: bytes) -> bytes:
    return (
        b'--cut\r\nContent-Disposition: form-data; name="name"\r\n\r\nhalf\r\n'
        b'--cut\r\nContent-Disposition: form-data; name="file"; filename="train.jsonl"\r\n\r\n'
        + file
        + b"\r\n--cut--\r\n"
    )


def ask(application: Any, messages: list[dict[str, Any]], **scope: Any) -> list[dict[str, Any]]:
    """The answer of an ASGI application to what a client sends, piece by piece."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    request = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "path": "/",
        "query_string": b"",
        "headers": [],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 5000),
    }
    asyncio.run(application(request | scope, receive, send))
    return sent


def upload(body: bytes, messages: list[dict[str, Any]]) -> int:
    headers = {
        b"host": b"127.0.0.1",
        b"content-type": b"multipart/form-data; boundary=cut",
        b"content-length": str(len(body)).encode(),
    }
    django = InThreads(get_wsgi_application())
    answer = ask(
        django, messages, method="POST", path="/api/datasets", headers=list(headers.items())
    )
    status: int = answer[0]["status"]
    return status


@pytest.mark.django_db(transaction=True)
def test_an_upload_in_pieces_arrives(home: Path) -> None:
    body = form(ROW * 100)
    pieces: list[dict[str, Any]] = [
        {"type": "http.request", "body": body[:1000], "more_body": True},
        {"type": "http.request", "body": body[1000:], "more_body": False},
    ]
    assert upload(body, pieces) == 201
    assert Dataset.objects.get().num_samples == 100


@pytest.mark.django_db(transaction=True)
def test_half_an_upload_is_not_taken_for_a_whole_one(home: Path) -> None:
    body = form(ROW * 100)
    pieces: list[dict[str, Any]] = [
        {"type": "http.request", "body": body[: 200 + 10 * len(ROW)], "more_body": True},
        {"type": "http.disconnect"},
    ]
    assert upload(body, pieces) == 400
    assert not Dataset.objects.exists()
    assert not list((home / "uploads").iterdir())


def test_threads_stay() -> None:
    seen = set()

    def application(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        seen.add(threading.get_ident())
        start("204 No Content", [])
        return [b""]

    threads = InThreads(application)
    for _ in range(40):
        ask(threads, [{"type": "http.request", "body": b"", "more_body": False}])
    assert len(seen) <= 16
