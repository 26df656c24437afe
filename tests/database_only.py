"""A pytest plugin for the second pass, on another database: only tests that touch the database.

What a test has committed is removed by DELETE: to TRUNCATE sixty tables takes PostgreSQL most of a
second, as it makes new files for all of them and for their indexes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

DATABASE_FIXTURES = {"db", "transactional_db", "django_db_reset_sequences"}


def pytest_configure() -> None:
    from django.db.backends.postgresql.operations import DatabaseOperations  # it needs settings

    DatabaseOperations.sql_flush = _deletes  # type: ignore[assignment, method-assign]


def _deletes(ops: Any, style: Any, tables: Sequence[str], **how: bool) -> list[str]:
    """In one transaction, at whose end foreign keys are looked at."""
    return [f"DELETE FROM {ops.quote_name(table)};" for table in tables]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    kept = [item for item in items if _touches_the_database(item)]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


def _touches_the_database(item: pytest.Item) -> bool:
    fixtures: list[str] = getattr(item, "fixturenames", [])
    return item.get_closest_marker("django_db") is not None or not DATABASE_FIXTURES.isdisjoint(
        fixtures
    )
