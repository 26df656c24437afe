"""A web server with a little of everything in its database, for programs that only have HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass

import pytest

from tests import postgresql
from tests.contract import rows
from tests.e2e.conftest import Site


@dataclass(frozen=True)
class Served:
    """Where it is, and the ids of what it has, by name (`rows.make_everything`)."""

    address: str
    ids: dict[str, str]
    site: Site


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, broker_url: str, request: pytest.FixtureRequest
) -> Iterator[Served]:
    """On SQLite, or with ``indirect=["served"]`` and "postgresql" there."""
    on_postgresql = getattr(request, "param", "sqlite") == "postgresql"
    with postgresql.own_database() if on_postgresql else nullcontext() as database:
        site = Site(tmp_path_factory.mktemp("home"), broker_url)
        if database:
            site.environment["DATABASE_URL"] = database
        try:
            ids = site.do(rows.make_everything)
            site.start()
            yield Served(site.address, ids, site)
        finally:
            site.close()
