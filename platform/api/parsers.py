"""Request bodies: JSON that every database can store."""

from __future__ import annotations

from typing import Any

from rest_framework import parsers
from rest_framework.exceptions import ParseError, ValidationError

from api.plain import is_plain

_UNFIT = "NUL, lone surrogates, infinite numbers and more than 100 levels are not allowed."


class JSONParser(parsers.JSONParser):
    """Refuses what PostgreSQL would not store, before any view sees it: 400 naming the field.

    SQLite stores all of it: a field that forgot to check would go unnoticed there.
    """

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        try:
            body = super().parse(stream, media_type, parser_context)
        except RecursionError as error:
            raise ParseError(f"JSON parse error - {_UNFIT}") from error
        if is_plain(body):
            return body
        if isinstance(body, dict) and all(map(is_plain, body)):
            raise ValidationError({k: _UNFIT for k, value in body.items() if not is_plain(value)})
        raise ParseError(_UNFIT)
