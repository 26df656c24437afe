"""The demo's client, against a small server that answers like the platform, or badly."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from trainyard.demo.client import Client, Refused, Unreachable

ANSWERS: dict[str, tuple[int, bytes]] = {
    "/api/recipes?q=full": (200, b'{"recipes": []}'),
    "/api/refused": (400, b'{"error": "train.max_steps: too few."}'),
    "/api/broken": (500, b"<h1>Server error</h1>"),
    "/api/no-json": (200, b"<html>"),
}


class Platform(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, body = ANSWERS[self.path]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        sent = json.dumps({"type": self.headers["Content-Type"], "body": json.loads(raw)}).encode()
        self.send_response(201)
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Platform) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture
def client(url: str) -> Client:
    return Client(url, patience_seconds=0)


def test_the_client_asks_and_sends_json(client):
    assert client.get("/api/recipes", q="full") == {"recipes": []}
    sent = client.post("/api/jobs", {"name": "Tagebuch für März"})
    assert sent == {"type": "application/json", "body": {"name": "Tagebuch für März"}}


def test_a_refusal_comes_in_the_platforms_own_words(client):
    with pytest.raises(Refused, match=r"train\.max_steps: too few\."):
        client.get("/api/refused")


@pytest.mark.parametrize("path", ["/api/broken", "/api/no-json"])
def test_an_answer_that_is_none_is_as_good_as_nobody(client, path):
    with pytest.raises(Unreachable):
        client.get(path)


def test_nobody_at_the_other_end_is_said_so():
    with pytest.raises(Unreachable, match="refused"):
        Client("http://127.0.0.1:9", patience_seconds=0).post("/api/jobs")
