"""POST to an address that somebody has entered, without becoming their tool against our network.

Every address that a name resolves to must be a public one, and the connection is made to an address
that was looked at: a name that resolves to another one the next moment (DNS rebinding) gains
nothing. Redirects are not followed, no proxy of the environment is used, and the answer has one
deadline for all of it and one size.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any
from urllib.parse import urlsplit

import httpcore2 as httpcore
from django.conf import settings

SECONDS = 10.0
MOST_BYTES = 4096
# Of addresses that carry an IPv4 one to some gateway: the one inside is what counts (RFC 6052).
_NAT64 = IPv6Network("64:ff9b::/96")

Address = IPv4Address | IPv6Address


class NotAllowed(Exception):
    """Nothing is sent to this address; the message says why."""


@dataclass(frozen=True)
class Answer:
    """What came of it. Without a ``status`` there was no answer, and ``error`` says why."""

    status: int | None
    body: str
    duration_ms: int
    error: str = ""
    # What the other side asks us to wait before the next try.
    retry_after_seconds: int | None = None

    @property
    def is_success(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


def check_url(url: str) -> None:
    """Could this be an address to post to? Raises NotAllowed. Names are not resolved here: what
    they resolve to later is what counts."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise NotAllowed(f"This is not an address: {error}.") from error
    if parts.scheme not in ("http", "https") or not host:
        raise NotAllowed("The address must begin with https:// or http:// and name a host.")
    if parts.username is not None or parts.password is not None:
        raise NotAllowed("The address must not contain a name or a password.")
    if not url.isascii() or any(c.isspace() or not c.isprintable() for c in url):
        raise NotAllowed("The address must be written in ASCII, without spaces.")
    try:
        literal = ip_address(host)
    except ValueError:
        return
    refuse_private(host, literal)


def post(url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
    """Raises nothing that is the other side's fault."""
    began = time.monotonic()
    deadline = began + SECONDS
    status, text, error, wait = None, b"", "", None
    try:
        check_url(url)
        pool = httpcore.ConnectionPool(network_backend=_Guarded(deadline), retries=0)
        sent = {"user-agent": "Trainyard/0.1", **headers}
        with pool, pool.stream("POST", url, headers=_encoded(sent), content=body) as response:
            status = response.status
            wait = _retry_after(response.headers)
            for chunk in response.iter_stream():
                text += chunk[: MOST_BYTES - len(text)]
                if len(text) >= MOST_BYTES:
                    break
        if 300 <= status < 400:
            error = "It answered with a redirect, and redirects are not followed."
    except NotAllowed as refusal:
        error = str(refusal)
    except httpcore.TimeoutException:
        error = f"No answer within {SECONDS:.0f} seconds."
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol) as trouble:
        error = f"{type(trouble).__name__}: {trouble}"
    return Answer(
        status=status,
        body=text.decode("utf-8", "replace").replace("\x00", "\N{REPLACEMENT CHARACTER}"),
        duration_ms=round((time.monotonic() - began) * 1000),
        error=error,
        retry_after_seconds=wait,
    )


def _encoded(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("ascii"), value.encode("ascii")) for name, value in headers.items()]


def _retry_after(headers: Iterable[tuple[bytes, bytes]]) -> int | None:
    """Seconds, or a date (RFC 9110 §10.2.3)."""
    value = {name.lower(): value for name, value in headers}.get(b"retry-after", b"")
    text = value.decode("latin-1").strip()
    if text.isascii() and text.isdigit():
        return int(text[:9])
    try:
        return max(0, round(parsedate_to_datetime(text).timestamp() - time.time()))
    except ValueError:
        return None


class _Guarded(httpcore.NetworkBackend):
    """Connects to public addresses only, and to those that were checked."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        addresses = resolve(host, port)
        for number, address in enumerate(addresses, 1):
            try:
                stream = self.plain.connect_tcp(
                    str(address), port, left(self.deadline), local_address, socket_options
                )
                return _Hurried(stream, self.deadline)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if number == len(addresses):
                    raise
        raise AssertionError("unreachable: resolve() gives one address or raises")

    def connect_unix_socket(self, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        raise NotAllowed("Only addresses of the network.")


class _Hurried(httpcore.NetworkStream):
    """However slowly the other side speaks, all of it has to come before the deadline."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self.stream, self.deadline = stream, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self.stream.read(max_bytes, left(self.deadline))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.stream.write(buffer, left(self.deadline))

    def close(self) -> None:
        self.stream.close()

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        secured = self.stream.start_tls(ssl_context, server_hostname, left(self.deadline))
        return _Hurried(secured, self.deadline)

    def get_extra_info(self, info: str) -> Any:
        return self.stream.get_extra_info(info)


def left(deadline: float) -> float:
    """Seconds. Raises httpcore's ReadTimeout where there are none."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise httpcore.ReadTimeout("too slow")
    return seconds


def resolve(host: str, port: int) -> list[Address]:
    """All addresses of a name. Raises NotAllowed if one of them is private, and ConnectError."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError(f"{host} cannot be resolved: {error}") from error
    addresses = [ip_address(str(sockaddr[0]).split("%")[0]) for *_, sockaddr in found]
    for address in addresses:
        refuse_private(host, address)
    return list(dict.fromkeys(addresses))


def refuse_private(host: str, address: Address) -> None:
    """Raises NotAllowed, unless the operator allows the network that the address is in."""
    if any(address in network for network in settings.TRAINYARD_ALLOWED_NETWORKS):
        return
    meant = _inside(address)
    if not meant.is_global or meant.is_multicast:
        raise NotAllowed(
            f"{host} is {address}, which is not a public address. "
            "The operator can allow it by TRAINYARD_ALLOWED_NETWORKS."
        )


def _inside(address: Address) -> Address:
    """The IPv4 address that an IPv6 one leads to, where it does."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo or [address])[-1]
