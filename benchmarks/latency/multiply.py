"""Many rows out of a few: saved by Django once, then repeated by the database itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import connection

SQLITE = {
    "id": "lower(hex(randomblob(16)))",
    "date": "strftime('%Y-%m-%d %H:%M:%f', {}, '-' || n || ' minutes')",
    "series": "(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < %s)"
    " SELECT n FROM s)",
}
POSTGRESQL = {
    "id": "gen_random_uuid()",
    "date": "{} - n * interval '1 minute'",
    "series": "(SELECT generate_series(1, %s) AS n)",
}


def multiply(rows: Sequence[Any], count: int, **columns: str) -> None:
    """Save ``rows``, and so many copies of each that there are ``count``, each a minute older than
    the one before. ``columns``: how the n-th copy differs besides, in SQL."""
    model = type(rows[0])
    model._default_manager.bulk_create(rows)
    copies = max(count // len(rows) - 1, 0)
    words = SQLITE if connection.vendor == "sqlite" else POSTGRESQL
    values = {**_usual(model, words), **columns}
    # A number that the database counts up it gives to the copies too.
    fields = [
        field
        for field in model._meta.concrete_fields
        if field.column in values or not field.primary_key
    ]
    names = ", ".join(f'"{field.column}"' for field in fields)
    picked = ", ".join(values.get(field.column, f't."{field.column}"') for field in fields)
    key = model._meta.pk
    assert key is not None
    ids = [key.get_db_prep_value(row.pk, connection) for row in rows]
    table = model._meta.db_table
    places = ", ".join(["%s"] * len(ids))
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({names}) SELECT {picked} FROM {table} t, {words['series']} s"
            f" WHERE t.{key.column} IN ({places})",
            [copies, *ids],
        )


def _usual(model: Any, words: Mapping[str, str]) -> dict[str, str]:
    """A new id, an earlier time, and a name and a number of its own."""
    known = {field.column: field for field in model._meta.concrete_fields}
    values = {}
    if model._meta.pk.get_internal_type() == "UUIDField":
        values[model._meta.pk.column] = words["id"]
    if "created_at" in known:
        values["created_at"] = words["date"].format("t.created_at")
    if "name" in known:
        values["name"] = "t.name || '-' || n"
    if "number" in known:
        values["number"] = "t.number + n"
    return values
