"""How much one person may change in a minute (server mode)."""

from __future__ import annotations

import logging
from typing import Any

from django.conf import settings
from redis.exceptions import RedisError
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.throttling import UserRateThrottle

log = logging.getLogger(__name__)


class WriteThrottle(UserRateThrottle):
    """TRAINYARD_WRITES_PER_MINUTE; beyond it 429 with Retry-After, in seconds."""

    scope = "writes"

    def get_rate(self) -> str | None:
        """None, which is no limit, in local mode."""
        if settings.TRAINYARD_MODE == "local":
            return None
        return f"{settings.TRAINYARD_WRITES_PER_MINUTE}/min"

    def allow_request(self, request: Request, view: Any) -> bool:
        if request.method in SAFE_METHODS:
            return True
        try:
            return super().allow_request(request, view)
        except RedisError as error:  # nothing else of a write needs Redis: it must not fail here
            log.warning("writes are not counted: %s", error)
            return True
