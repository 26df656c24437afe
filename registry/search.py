"""Words in names, families and descriptions, found without reading the whole table.

Both databases can index every run of three characters, so that any part of a word is found: SQLite
in a table of its own (FTS5) that triggers keep, PostgreSQL in an index (pg_trgm) where the
extension may be created. `prepare` makes either after each migrate, not a migration: to change a
SQLite table Django builds a new one, and triggers and indexes that it does not know are lost.

Without them, and for one or two characters, the words are looked for row by row.
"""

from __future__ import annotations

from typing import Any

from django.db import DatabaseError, connections, transaction
from django.db.models import Func, QuerySet, TextField
from django.db.models.expressions import RawSQL

from api.filters import SearchFilter

SHORTEST = 3
# By table: the columns that are searched, and those that a list is ordered or narrowed by.
SEARCHED = {
    "registry_basemodel": ("name", "family", "description"),
    "registry_dataset": ("name", "description"),
    "registry_adapter": ("name", "description"),
}
LISTED = {
    "registry_basemodel": "project_id, family, stage, modality, trainable, servable",
    "registry_dataset": "project_id, modality, integrity_checked, integrity_passed, row_format,"
    " is_split",
    "registry_adapter": "project_id, method",
}


class IndexedSearchFilter(SearchFilter):
    """A SearchFilter over all of a table's searched columns."""

    def found(self, qs: QuerySet[Any], value: str) -> QuerySet[Any]:
        table, vendor = qs.model._meta.db_table, connections[qs.db].vendor
        if len(value) < SHORTEST or not _is_prepared(qs.db, table):
            return super().found(qs, value)
        if vendor == "sqlite":
            phrase = value.replace('"', '""')
            found = f"SELECT rowid FROM {table}_words WHERE {table}_words MATCH %s"
            return qs.filter(number__in=RawSQL(found, [f'"{phrase}"']))
        aliased: QuerySet[Any] = qs.alias(words=_OneText(*SEARCHED[table]))
        return aliased.filter(words__icontains=value)


class _OneText(Func):
    """Columns with a separator between them that nobody types."""

    template = "(%(expressions)s)"
    arg_joiner = " || CHR(31) || "
    output_field = TextField()


def prepare(using: str) -> None:
    """Make what is missing; a database that cannot have it does without."""
    make = {"sqlite": _word_table, "postgresql": _trigram_index}[connections[using].vendor]
    for table in SEARCHED:
        try:
            with transaction.atomic(using):
                make(using, table)
        except DatabaseError:  # no FTS5 in this SQLite, or no right to the extension
            return


_prepared: set[tuple[str, str]] = set()


def _is_prepared(using: str, table: str) -> bool:
    """Asked until it is so, once for each process from then on: what is there stays."""
    if (using, table) not in _prepared and _exists(using, f"{table}_words"):
        _prepared.add((using, table))
    return (using, table) in _prepared


def _exists(using: str, name: str) -> bool:
    connection = connections[using]
    catalogue = (
        "sqlite_master WHERE name" if connection.vendor == "sqlite" else "pg_class WHERE relname"
    )
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT 1 FROM {catalogue} = %s", [name])
        return cursor.fetchone() is not None


def _word_table(using: str, table: str) -> None:
    words, fields = f"{table}_words", SEARCHED[table]
    columns = ", ".join(fields)
    new_values = ", ".join(f"new.{field}" for field in fields)
    forget = f"DELETE FROM {words} WHERE rowid = old.number"
    learn = f"INSERT INTO {words} (rowid, {columns}) VALUES (new.number, {new_values})"
    changed = " OR ".join(f"old.{field} IS NOT new.{field}" for field in fields)
    triggers = {
        f"{words}_insert": f"AFTER INSERT ON {table} BEGIN {learn}; END",
        f"{words}_delete": f"AFTER DELETE ON {table} BEGIN {forget}; END",
        f"{words}_update": f"AFTER UPDATE ON {table} WHEN {changed} BEGIN {forget}; {learn}; END",
    }
    index = f"{words}_rows"
    if all(_exists(using, name) for name in (words, index, *triggers)):
        return
    with connections[using].cursor() as cursor:
        # Counts and orders the found rows without reading them.
        cursor.execute(
            f"CREATE INDEX IF NOT EXISTS {index} ON {table}"
            f" (number, created_at DESC, id DESC, {LISTED[table]})"
        )
        cursor.execute(f"DROP TABLE IF EXISTS {words}")
        cursor.execute(f"CREATE VIRTUAL TABLE {words} USING fts5({columns}, tokenize='trigram')")
        cursor.execute(
            f"INSERT INTO {words} (rowid, {columns}) SELECT number, {columns} FROM {table}"
        )
        for name, body in triggers.items():
            cursor.execute(f"DROP TRIGGER IF EXISTS {name}")
            cursor.execute(f"CREATE TRIGGER {name} {body}")


def _trigram_index(using: str, table: str) -> None:
    """Of all columns in one: three conditions with OR would be taken for three times as many rows,
    and the table read from end to end."""
    if _exists(using, f"{table}_words"):
        return
    # As Django writes ``icontains`` of `_OneText`.
    text = _OneText.arg_joiner.join(SEARCHED[table])
    with connections[using].cursor() as cursor:
        cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
        cursor.execute(
            f"CREATE INDEX {table}_words ON {table} USING gin (UPPER(({text})::text) gin_trgm_ops)"
        )
        cursor.execute(f"ANALYZE {table}")
