"""How often tables have changed, counted by the database itself.

Triggers count every change in its own transaction, whoever makes it: whoever sees the change sees
the new number, and nobody else does. So what was worked out at some number holds for as long as the
table has it. `watch` makes the triggers after each migrate, not a migration: to change a SQLite
table Django builds a new one, and triggers that it does not know are lost.

SQLite has one writer, so a row for each table is counted up. On PostgreSQL everybody would wait for
that row until the transaction before has ended; there each change adds a row of its own, and
`squash` adds them together from time to time.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Sequence

from django.db import connection, connections, transaction

from accounts.models import Change

# Everybody's lists depend on who may see what.
RIGHTS = ("accounts_membership", "accounts_project")


def state(*tables: str) -> Hashable:
    """The numbers of these tables; None where one of them is not watched."""
    places = ", ".join(["%s"] * len(tables))
    with connection.cursor() as cursor:  # asked by every list: the ORM takes four times as long
        cursor.execute(
            f'SELECT "table", SUM(count) FROM accounts_change WHERE "table" IN ({places})'
            ' GROUP BY "table"',
            tables,
        )
        counted = dict(cursor.fetchall())
    return tuple(counted[table] for table in tables) if len(counted) == len(tables) else None


def squash() -> None:
    """One row for each table again, with the same number."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                'WITH gone AS (DELETE FROM accounts_change RETURNING "table", count)'
                ' INSERT INTO accounts_change ("table", count)'
                ' SELECT "table", SUM(count) FROM gone GROUP BY "table"'
            )


def watch(using: str, *tables: str, columns: Sequence[str] = ()) -> None:
    """Make the triggers that are missing. Half-way through the migrations there are no tables.

    ``columns``: what lists are ordered, narrowed and counted by, of a table that has others which
    change all the time. An UPDATE that names none of them does not count.
    """
    make = {"sqlite": _watch_sqlite, "postgresql": _watch_postgresql}[connections[using].vendor]
    of = f" OF {', '.join(columns)}" if columns else ""
    if not {Change._meta.db_table, *tables} <= set(connections[using].introspection.table_names()):
        return
    known = set(Change.objects.using(using).values_list("table", flat=True))
    # A table that is emptied and watched again must not come to an earlier number.
    first = time.time_ns() // 1000
    with transaction.atomic(using):
        Change.objects.using(using).bulk_create(
            Change(table=table, count=first) for table in tables if table not in known
        )
        for table in tables:
            make(using, table, of)


def _watch_sqlite(using: str, table: str, of: str) -> None:
    with connections[using].cursor() as cursor:
        for what in ("INSERT", f"UPDATE{of}", "DELETE"):
            cursor.execute(
                f"CREATE TRIGGER IF NOT EXISTS {table}_{what.split()[0].lower()}_counted"
                f" AFTER {what} ON {table} BEGIN UPDATE accounts_change SET count = count + 1"
                f" WHERE \"table\" = '{table}'; END"
            )


def _watch_postgresql(using: str, table: str, of: str) -> None:
    with connections[using].cursor() as cursor:
        cursor.execute(
            "CREATE OR REPLACE FUNCTION accounts_count_change() RETURNS trigger LANGUAGE plpgsql"
            ' AS $$ BEGIN INSERT INTO accounts_change ("table", count) VALUES (TG_TABLE_NAME, 1);'
            " RETURN NULL; END $$"
        )
        cursor.execute(
            f"CREATE OR REPLACE TRIGGER {table}_counted"
            f" AFTER INSERT OR UPDATE{of} OR DELETE OR TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION accounts_count_change()"
        )
