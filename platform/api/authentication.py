"""Who is asking: whose token it is, or in local mode the owner of the machine."""

from __future__ import annotations

from typing import Any

from knox.auth import TokenAuthentication
from rest_framework.authentication import BaseAuthentication, BasicAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

WRITE = "write"


class BearerAuthentication(TokenAuthentication):
    """``Authorization: Bearer ty_…``. First in the list, so that nobody at all is a 401."""

    def authenticate_credentials(self, token: bytes) -> tuple[Any, Any]:
        """The user and the token. Raises AuthenticationFailed."""
        if not token.isascii() or b"\x00" in token:
            raise AuthenticationFailed("Invalid token.")
        user, auth = super().authenticate_credentials(token)
        return user, auth


class NameAndPassword(BasicAuthentication):
    """HTTP's Basic, for the few routes that say so."""

    def authenticate_credentials(
        self, userid: str, password: str, request: Any = None
    ) -> tuple[Any, None]:
        if "\x00" in userid:  # the database would not take it
            raise AuthenticationFailed("Invalid username/password.")
        return super().authenticate_credentials(userid, password, request)


class ScopeAllows(BasePermission):
    """A token with the scope ``read`` asks, and changes nothing."""

    message = "This token may only read."

    def has_permission(self, request: Request, view: Any) -> bool:
        return request.method in SAFE_METHODS or getattr(request.auth, "scope", WRITE) == WRITE


class LocalOwnerAuthentication(BaseAuthentication):
    """Takes over the local owner that the middleware has signed in.

    There is no CSRF token to ask for: the middleware has refused every foreign Host and Origin.
    """

    def authenticate(self, request: Request) -> tuple[Any, None] | None:
        owner = getattr(request._request, "local_owner", None)
        return (owner, None) if owner else None
