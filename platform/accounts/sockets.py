"""Who is asking, for WebSockets: the rules of the middleware and of the API."""

from __future__ import annotations

from typing import Any

from channels.db import database_sync_to_async
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from rest_framework.exceptions import AuthenticationFailed

from accounts.local import local_owner
from accounts.middleware import is_loopback
from api.authentication import BearerAuthentication


class LocalOwnerSocket:
    """ASGI middleware, as `middleware.LocalOwnerMiddleware`. AllowedHostsOriginValidator has
    checked the Origin before."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> Any:
        if settings.TRAINYARD_MODE == "local" and not scope["user"].is_authenticated:
            client = scope.get("client") or ("",)
            if is_loopback(client[0] or ""):
                scope = {**scope, "user": await database_sync_to_async(local_owner)()}
        return await self.app(scope, receive, send)


class TokenSocket:
    """ASGI middleware: ``Authorization: Bearer …`` says who is asking, whoever is signed in."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> Any:
        scheme, _, secret = dict(scope["headers"]).get(b"authorization", b"").partition(b" ")
        if scheme.lower() == b"bearer":
            scope = {**scope, "user": await database_sync_to_async(_user_of)(secret.strip())}
        return await self.app(scope, receive, send)


def _user_of(secret: bytes) -> Any:
    """Nobody (AnonymousUser) for a token that does not count."""
    try:
        return BearerAuthentication().authenticate_credentials(secret)[0]
    except AuthenticationFailed:
        return AnonymousUser()
