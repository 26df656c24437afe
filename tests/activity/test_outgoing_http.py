"""Posting to addresses that people enter: none of our own network, however it is spelled."""

from __future__ import annotations

import socket
import time
from ipaddress import ip_network
from typing import Any

import pytest

from activity.outgoing import http
from tests.activity.receiver import Receiver

PUBLIC = "93.184.216.34"


def resolving(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """Every name is these addresses; the names that were asked for."""
    asked: list[str] = []

    def getaddrinfo(host: str, port: int, *args: Any, **kwargs: Any) -> list[Any]:
        asked.append(host)
        kind = socket.SOCK_STREAM
        return [(socket.AF_INET, kind, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://127.0.0.1:6379/",
        "http://[::1]/",
        "http://10.1.2.3/",
        "http://192.168.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://100.64.0.1/",
        "http://0.0.0.0/",
        "http://224.0.0.1/",
        "http://[fe80::1]/",
        "http://[fd00::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:10.0.0.1]/",
        "http://[2002:7f00:1::]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[64:ff9b::a00:1]/",
        "ftp://example.org/",
        "file:///etc/passwd",
        "http://",
        "example.org",
        "",
        "https://user:password@example.org/",
        "https://example.org/ x",
        "https://exämple.org/",
        "https://example.org:99999/",
        "http://[::1/",
    ],
)
def test_an_address_that_is_none_of_ours_to_post_to_is_refused(url: str) -> None:
    with pytest.raises(http.NotAllowed):
        http.check_url(url)
    answer = http.post(url, b"{}", {})
    assert (answer.status, answer.is_success) == (None, False)
    assert answer.error


@pytest.mark.parametrize("url", ["https://hooks.slack.com/services/T/B/x", "http://93.184.216.34/"])
def test_a_public_one_may_be_entered(url: str) -> None:
    http.check_url(url)


@pytest.mark.parametrize("private", ["127.0.0.1", "10.0.0.5", "169.254.169.254", "::1"])
def test_a_name_with_any_private_address_is_refused(
    monkeypatch: pytest.MonkeyPatch, private: str
) -> None:
    resolving(monkeypatch, PUBLIC, private)
    answer = http.post("http://rebind.example.org/", b"{}", {})
    assert "not a public address" in answer.error
    assert "TRAINYARD_ALLOWED_NETWORKS" in answer.error


@pytest.mark.parametrize("spelled", ["2130706433", "0x7f000001", "127.1", "localhost"])
def test_other_spellings_of_this_machine_are_refused_too(spelled: str) -> None:
    assert "not a public address" in http.post(f"http://{spelled}/", b"{}", {}).error


def test_one_connects_to_the_address_that_was_checked(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name is asked for once; what it resolves to the next moment does not matter."""
    asked = resolving(monkeypatch, "127.0.0.1")
    answer = http.post(f"http://hooks.example.org:{receiver.port}/x", b"{}", {"a-header": "b"})
    assert (answer.status, answer.body) == (200, "ok")
    [posted] = receiver.posted
    assert (posted.path, posted.body, posted.headers["a-header"]) == ("/x", b"{}", "b")
    assert posted.headers["host"] == f"hooks.example.org:{receiver.port}"
    assert asked.count("hooks.example.org") == 1


def test_only_the_networks_that_are_allowed(receiver: Receiver, settings: Any) -> None:
    settings.TRAINYARD_ALLOWED_NETWORKS = [ip_network("10.0.0.0/8")]
    assert "not a public address" in http.post(receiver.url(), b"{}", {}).error
    assert receiver.posted == []


def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    receiver.answers = [(302, {"location": receiver.url("/elsewhere")}, b"")]
    answer = http.post(receiver.url(), b"{}", {})
    assert (answer.status, answer.is_success) == (302, False)
    assert "redirects are not followed" in answer.error
    assert len(receiver.posted) == 1


def test_a_proxy_of_the_environment_is_not_asked(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert http.post(receiver.url(), b"{}", {}).status == 200


def test_of_a_long_answer_the_beginning_is_kept(receiver: Receiver) -> None:
    receiver.answers = [(500, {}, b"\x00\xff" + b"x" * 100_000)]
    answer = http.post(receiver.url(), b"{}", {})
    assert answer.status == 500
    assert answer.body.startswith("\N{REPLACEMENT CHARACTER}" * 2 + "xxx")
    assert len(answer.body) == http.MOST_BYTES


def test_whoever_hangs_is_waited_for_until_the_deadline_and_no_longer(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "SECONDS", 0.3)
    receiver.before = lambda: time.sleep(1.5)
    answer = http.post(receiver.url(), b"{}", {})
    assert (answer.status, answer.error) == (None, "No answer within 0 seconds.")
    assert answer.duration_ms < 1400


def test_who_answers_byte_by_byte_does_not_hold_us_longer(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    monkeypatch.setattr(http, "SECONDS", 0.5)
    settings.TRAINYARD_ALLOWED_NETWORKS = [ip_network("127.0.0.0/8")]
    over = threading.Event()

    def drip() -> None:
        connection, _ = server.accept()
        with connection:
            for byte in b"HTTP/1.1 200 OK\r\nx-slow: " + b"x" * 1000:
                if over.wait(0.1):
                    return
                connection.send(bytes([byte]))

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=drip)
        thread.start()
        began = time.monotonic()
        answer = http.post(f"http://127.0.0.1:{server.getsockname()[1]}/", b"{}", {})
        took = time.monotonic() - began
        over.set()
        thread.join()
    assert answer.status is None
    assert took < 5


def test_nobody_there_is_told_as_it_is(settings: Any) -> None:
    settings.TRAINYARD_ALLOWED_NETWORKS = [ip_network("127.0.0.0/8")]
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        answer = http.post(f"http://127.0.0.1:{port}/", b"{}", {})
    assert "Connection refused" in answer.error


@pytest.mark.parametrize(
    ("header", "seconds"), [("120", 120), ("Wed, 21 Oct 2015 07:28:00 GMT", 0), ("soon", None)]
)
def test_it_is_heard_how_long_to_wait(receiver: Receiver, header: str, seconds: int | None) -> None:
    receiver.answers = [(429, {"retry-after": header}, b"")]
    assert http.post(receiver.url(), b"{}", {}).retry_after_seconds == seconds
