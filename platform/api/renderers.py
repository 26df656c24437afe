"""JSON, written by orjson: a list of fifty models with their cards in a tenth of the time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from rest_framework import renderers
from rest_framework.utils.encoders import JSONEncoder

_fallback = JSONEncoder().default
_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS


class JSONRenderer(renderers.JSONRenderer):
    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        if data is None:  # an answer without a body
            return b""
        try:
            return dumps(data)
        except TypeError:  # whole numbers of more than 64 bits, which metadata may hold
            return super().render(data, accepted_media_type, renderer_context)


def dumps(data: Any) -> bytes:
    """Raises TypeError for what JSON has no word for, and for whole numbers beyond 64 bits."""
    return orjson.dumps(data, _default, _OPTIONS)


def _default(value: Any) -> Any:
    """Lazy translations, ErrorDetail and the like, as DRF writes them."""
    if isinstance(value, str):
        return str(value)
    return _fallback(value)
