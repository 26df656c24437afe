"""Signs the local owner in, and keeps every other web page in the browser out."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import MiddlewareNotUsed
from django.http import HttpRequest, HttpResponse, JsonResponse

from accounts.local import local_owner

SAFE = ("GET", "HEAD", "OPTIONS")


class LocalOwnerMiddleware:
    """In local mode only. A request from this machine is the owner's, unless a page of another
    site sent it (Origin). A foreign name for this machine (DNS rebinding) Django has refused
    before, by ALLOWED_HOSTS."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        if settings.TRAINYARD_MODE != "local":
            raise MiddlewareNotUsed
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not is_loopback(request.META.get("REMOTE_ADDR", "")):
            return refuse("Local mode answers this machine only.")
        origin = request.headers.get("Origin")
        if request.method not in SAFE and origin and urlsplit(origin).netloc != request.get_host():
            return refuse(f"A page of {origin} may not change anything here.")
        if not request.user.is_authenticated:
            request.user = request.local_owner = local_owner()  # type: ignore[attr-defined]
        return self.get_response(request)


def is_loopback(address: str) -> bool:
    """A Unix socket has no address: whoever can open it is on this machine."""
    if not address:
        return True
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


def refuse(reason: str) -> JsonResponse:
    return JsonResponse({"error": reason}, status=403)
