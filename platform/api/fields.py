"""Serializer fields that more than one app uses."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers


class ShapedJSON(serializers.JSONField):
    """JSON as it is stored, to read only. ``shape``, a serializer, describes it in the schema."""

    def __init__(self, shape: Any, **kwargs: Any) -> None:
        self.shape = shape
        super().__init__(**{"read_only": True, **kwargs})
