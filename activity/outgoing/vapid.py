"""Who sends a push message: our key, which browsers remember when they subscribe (RFC 8292)."""

from __future__ import annotations

import time
from functools import lru_cache
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.conf import settings
from py_vapid import Vapid02, b64urlencode

_VALID_SECONDS = 12 * 3600


def public_key() -> str:
    """As a page gives it to `pushManager.subscribe`."""
    point = _keys(settings.VAPID_PRIVATE_KEY).public_key.public_bytes(
        Encoding.X962, PublicFormat.UncompressedPoint
    )
    return str(b64urlencode(point))


def headers(endpoint: str) -> dict[str, str]:
    """For one message to the push service of this endpoint."""
    parts = urlsplit(endpoint)
    claims = {
        "aud": f"{parts.scheme}://{parts.netloc}",
        "exp": int(time.time()) + _VALID_SECONDS,
        "sub": _contact(),
    }
    signed = _keys(settings.VAPID_PRIVATE_KEY).sign(claims)
    return {"authorization": signed["Authorization"]}


def _contact() -> str:
    """Whom a push service may write to about us."""
    if settings.TRAINYARD_URL.startswith("https://"):
        return str(settings.TRAINYARD_URL)
    return f"mailto:{settings.DEFAULT_FROM_EMAIL}"


@lru_cache(maxsize=2)
def _keys(private: str) -> Vapid02:
    return Vapid02.from_raw(private.encode())
