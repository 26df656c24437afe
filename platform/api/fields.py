"""Serializer fields that more than one app uses."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers


class ShapedJSON(serializers.JSONField):
    """JSON as it is stored, to read only. ``shape``, a serializer, describes it in the schema."""

    def __init__(self, shape: Any, **kwargs: Any) -> None:
        self.shape = shape
        super().__init__(**{"read_only": True, **kwargs})


class StrictSerializer(serializers.Serializer[Any]):
    """Refuses keys it does not know: a mistyped setting must not be lost in silence."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict) and (unknown := sorted(set(data) - set(self.fields))):
            known = ", ".join(sorted(self.fields))
            raise serializers.ValidationError(
                dict.fromkeys(unknown, f"There is no such setting. There are: {known}.")
            )
        return super().to_internal_value(data)
