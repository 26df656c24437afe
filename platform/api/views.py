"""What every viewset of ours does alike."""

from __future__ import annotations

import uuid
from typing import Any

from drf_spectacular.utils import OpenApiParameter
from rest_framework import exceptions


class UUIDLookup:
    """An id in a path that is no UUID is a 400 with a sentence."""

    lookup_value_regex = "[^/]+"
    # What a GET takes behind the "?", beside the filters of a list.
    takes: tuple[OpenApiParameter, ...] = ()
    # Parts of its paths that are whole numbers.
    numbered: tuple[str, ...] = ()

    def get_object(self) -> Any:
        name = self.lookup_url_kwarg or self.lookup_field  # type: ignore[attr-defined]
        as_uuid(self.kwargs[name])  # type: ignore[attr-defined]
        return super().get_object()  # type: ignore[misc]


def as_uuid(value: str) -> uuid.UUID:
    """Raises ValidationError with a sentence."""
    try:
        return uuid.UUID(value)
    except ValueError:
        raise exceptions.ValidationError({"id": f"'{value}' is not a UUID."}) from None
