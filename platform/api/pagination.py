"""The list envelope: ``{"<plural>": [...], "total": 42, "limit": 50, "offset": 0}``."""

from __future__ import annotations

from functools import partial
from typing import Any

import orjson
from rest_framework import exceptions
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api import remembered, rows


class EnvelopePagination(BasePagination):
    """``limit`` and ``offset``. A view names its list by ``plural`` and its default by ``limit``
    (None: all rows). A list that may be long says by ``list_state()`` when it has changed, one
    whose fields are all columns is ``plain_rows``."""

    def paginate_queryset(
        self, queryset: Any, request: Request, view: APIView | None = None
    ) -> Any:
        self.plural: str = getattr(view, "plural", "results")
        self.limit = whole_number(request, "limit", getattr(view, "limit", None))
        self.offset = whole_number(request, "offset", 0) or 0
        end = None if self.limit is None else self.offset + self.limit
        state_now = getattr(view, "list_state", None)
        as_json = None
        if getattr(view, "plain_rows", False):
            shown = view.get_serializer_class()  # type: ignore[union-attr]
            as_json = partial(rows.as_json, serializer_class=shown)
        if end is not None and state_now is not None:
            user = request.user
            self.total, page = remembered.page(
                queryset,
                self.offset,
                end,
                asked=(request.path, request.META["QUERY_STRING"], user.pk, user.is_superuser),
                state_now=state_now,
                as_json=as_json,
            )
            return page if as_json else list(page)
        self.total = queryset.count()
        page = queryset[self.offset : end]
        return orjson.Fragment(as_json(page)) if as_json else list(page)

    def get_paginated_response(self, data: Any) -> Response:
        return Response(
            {self.plural: data, "total": self.total, "limit": self.limit, "offset": self.offset}
        )

    def get_paginated_response_schema(self, schema: Any) -> dict[str, Any]:
        """The envelope in the OpenAPI document. `plural` has been set."""
        number = {"type": "integer", "minimum": 0}
        properties = {
            self.plural: schema,
            "total": {**number, "example": 42, "description": "Of all pages together."},
            "limit": {
                "type": ["integer", "null"],
                "minimum": 0,
                "example": 50,
                "description": "null: all.",
            },
            "offset": {**number, "example": 0},
        }
        return {"type": "object", "required": list(properties), "properties": properties}

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        default = getattr(view, "limit", None)
        number = {"type": "integer", "minimum": 0, "maximum": LARGEST}
        return [
            {
                "name": name,
                "in": "query",
                "description": words,
                "schema": number if start is None else {**number, "default": start},
            }
            for name, start, words in [
                ("limit", default, f"Rows to answer with; by default {default or 'all'}."),
                ("offset", 0, "Rows to skip."),
            ]
        ]


# Beyond this a number is a mistake, and SQLite and PostgreSQL refuse it with an error of their own.
LARGEST = 2**31 - 1


def whole_number(request: Request, name: str, default: int | None) -> int | None:
    """A query parameter that counts something. Raises ValidationError naming it."""
    raw = request.query_params.get(name)
    if raw is None:
        return default
    try:
        return as_whole_number(raw)
    except ValueError as error:
        raise exceptions.ValidationError({name: str(error)}) from error


def as_whole_number(raw: str) -> int:
    """Raises ValueError with a sentence."""
    if not raw.isascii() or not raw.isdigit() or len(raw) > 10 or int(raw) > LARGEST:
        raise ValueError(f"'{raw}' is not a whole number of 0 or more.")
    return int(raw)
