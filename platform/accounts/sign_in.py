"""Names and passwords, counted (server mode): nobody can try many of them.

Every door asks here, because Django does: the login page, the admin's own, and HTTP's Basic where
the API takes it. A throttle of REST framework's stands behind one door only, comes after the
password has been checked, and lets pass whatever is sent at once (it reads, then writes).
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Callable
from time import time
from typing import Any

from django.conf import settings
from django.contrib.auth.backends import ModelBackend
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from redis.exceptions import RedisError
from rest_framework.exceptions import Throttled

log = logging.getLogger(__name__)

_WINDOW_SECONDS = 60


class TooManyAttempts(Throttled):
    """429. ``wait`` becomes Retry-After."""

    wait: int  # seconds
    default_detail = "Too many wrong names or passwords."
    extra_detail_singular = "Try again in {wait} second."
    extra_detail_plural = "Try again in {wait} seconds."


class CountingBackend(ModelBackend):
    """Django's own, but a name, and an address, fails TRAINYARD_SIGN_INS_PER_MINUTE times only:
    until the minute is over not even the right password helps. Who gets in does not count."""

    def authenticate(
        self,
        request: Any,
        username: str | None = None,
        password: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """Raises TooManyAttempts."""
        if settings.TRAINYARD_MODE == "local":
            return super().authenticate(request, username, password, **kwargs)
        now = time()
        counters = _counters(request, username, minute=int(now // _WINDOW_SECONDS))
        # Counted before the password is checked, so that of many at once each is counted.
        if max(map(_count, counters)) > settings.TRAINYARD_SIGN_INS_PER_MINUTE:
            raise TooManyAttempts(wait=math.ceil(_WINDOW_SECONDS - now % _WINDOW_SECONDS))
        user = super().authenticate(request, username, password, **kwargs)
        if user is not None:
            for counter in counters:
                _take_back(counter)
        return user


def _counters(request: Any, username: str | None, *, minute: int) -> list[str]:
    """One for the name, one for the address (a Unix socket has none)."""
    address = request.META.get("REMOTE_ADDR", "") if request is not None else ""
    who = [("name", username or ""), *([("address", address)] if address else [])]
    # What was typed may be longer than a key, and have blanks.
    return [
        f"sign-in:{minute}:{kind}:{hashlib.sha256(words.encode()).hexdigest()}"
        for kind, words in who
    ]


def _count(counter: str) -> int:
    try:
        cache.add(counter, 0, timeout=2 * _WINDOW_SECONDS)
        return cache.incr(counter)
    except RedisError as error:  # nothing else of a sign-in needs Redis: it must not fail here
        log.warning("attempts to sign in are not counted: %s", error)
        return 0


def _take_back(counter: str) -> None:
    try:
        cache.decr(counter)
    except RedisError as error:
        log.warning("attempts to sign in are not counted: %s", error)


class TooManyAttemptsMiddleware:
    """On a page: says when to come back. (In the API REST framework does.)"""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if not isinstance(error, TooManyAttempts):
            return None
        response = render(request, "429.html", {"error": error}, status=error.status_code)
        response["Retry-After"] = str(error.wait)
        return response
