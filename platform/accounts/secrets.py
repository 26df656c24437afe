"""Secrets of others that we must be able to say again: hub tokens, keys that webhooks sign with.

They lie in the database encrypted with a key that is made of SECRET_KEY, so a copy of the database
alone tells nobody anything. After a change of SECRET_KEY those of SECRET_KEY_FALLBACKS still open
what they have closed.
"""

from __future__ import annotations

import base64
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings


class CannotDecrypt(Exception):
    """It was encrypted with another SECRET_KEY. Whoever knows the secret has to enter it again."""


def encrypt(secret: str) -> str:
    """Text that a database may keep; each time another one."""
    return _box().encrypt(secret.encode()).decode()


def decrypt(kept: str) -> str:
    """The secret again. Raises CannotDecrypt."""
    try:
        return _box().decrypt(kept.encode()).decode()
    except InvalidToken as error:
        raise CannotDecrypt(
            "The secret cannot be read: SECRET_KEY is another one than when it was saved. "
            "Put the old key into SECRET_KEY_FALLBACKS, or enter the secret again."
        ) from error


def _box() -> MultiFernet:
    return _box_of(settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)


@lru_cache(maxsize=4)
def _box_of(*keys: str) -> MultiFernet:
    """The first key closes, each of them opens."""
    return MultiFernet([Fernet(_derived(key)) for key in keys])


def _derived(key: str) -> bytes:
    """SECRET_KEY also signs sessions: its other uses must not share the very same bytes."""
    hkdf = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"trainyard secrets at rest")
    return base64.urlsafe_b64encode(hkdf.derive(key.encode()))
