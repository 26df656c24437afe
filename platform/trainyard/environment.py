"""Environment variables, read once and checked: a bad value stops the start with its name."""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

_env = environ.Env()


def text(name: str, default: str = "") -> str:
    """An empty variable is as good as none."""
    return os.environ.get(name, "").strip() or default


def boolean(name: str, *, default: bool) -> bool:
    value = text(name, str(default)).lower()
    if value in ("1", "true", "yes", "on"):
        return True
    if value in ("0", "false", "no", "off"):
        return False
    raise ImproperlyConfigured(f"{name}: expected true or false, got '{value}'")


def integer(name: str, default: int, *, low: int, high: int) -> int:
    value = text(name, str(default))
    try:
        number = int(value)
    except ValueError:
        raise ImproperlyConfigured(f"{name}: expected a whole number, got '{value}'") from None
    if not low <= number <= high:
        raise ImproperlyConfigured(f"{name}: expected {low} to {high}, got {number}")
    return number


def choice(name: str, default: str, choices: tuple[str, ...]) -> str:
    value = text(name, default)
    if value not in choices:
        raise ImproperlyConfigured(f"{name}: expected one of {', '.join(choices)}; got '{value}'")
    return value


def words(name: str) -> list[str]:
    """A comma-separated list."""
    return [word.strip() for word in text(name).split(",") if word.strip()]


def folder(name: str, default: Path) -> Path:
    return Path(text(name) or default).expanduser().resolve()


def database(name: str, default: dict[str, Any]) -> dict[str, Any]:
    """A database URL (``postgres://user:password@host/name``), or the default where none is set."""
    url = text(name)
    if not url:
        return default
    try:
        config = dict(_env.db_url_config(url))
    except Exception as error:
        raise ImproperlyConfigured(f"{name}: not a database URL ({error})") from error
    if config.get("ENGINE") != "django.db.backends.postgresql":
        raise ImproperlyConfigured(f"{name}: expected postgres://…, got '{url.split(':')[0]}://…'")
    return config


def redis_url(name: str, default: str) -> str:
    value = text(name, default)
    if not value.startswith(("redis://", "rediss://", "unix://")):
        raise ImproperlyConfigured(f"{name}: expected redis://…, rediss://… or unix://…")
    return value


def web_address(name: str, default: str) -> str:
    """The beginning of URLs, without the slash at its end."""
    value = text(name, default).rstrip("/")
    if not value.startswith(("http://", "https://")):
        raise ImproperlyConfigured(f"{name}: expected http://… or https://…, got '{value}'")
    return value


def networks(name: str) -> list[IPv4Network | IPv6Network]:
    """Comma-separated addresses and networks: ``127.0.0.1, 10.0.0.0/8``."""
    try:
        return [ip_network(word) for word in words(name)]
    except ValueError as error:
        raise ImproperlyConfigured(
            f"{name}: expected networks such as 10.0.0.0/8: {error}"
        ) from error


def email(name: str) -> dict[str, Any]:
    """Django's mail settings from ``smtp+tls://user:password@host:587``; {} where none is set."""
    url = text(name)
    if not url:
        return {}
    try:
        return dict(_env.email_url_config(url))
    except Exception as error:
        raise ImproperlyConfigured(
            f"{name}: expected smtp://, smtp+tls://, smtp+ssl:// or filemail:// ({error})"
        ) from error


def new_vapid_key() -> str:
    """A private key for Web Push (P-256), as the 32 bytes that libraries read."""
    from cryptography.hazmat.primitives.asymmetric import ec  # needed once in the life of a home

    number = ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value
    return base64.urlsafe_b64encode(number.to_bytes(32, "big")).decode().rstrip("=")


def kept_secret(path: Path, make: Callable[[], str] = lambda: secrets.token_urlsafe(50)) -> str:
    """The secret in a file that only its owner can read, made at first use."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return path.read_text(encoding="utf-8").strip()
    secret = make()
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(secret)
    return secret
