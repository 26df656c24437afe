"""Programs that use the API with a token."""

from __future__ import annotations

from collections.abc import Callable

from rest_framework.test import APIClient

TokenOf = Callable[..., APIClient]


def with_secret(secret: str) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
    return client
