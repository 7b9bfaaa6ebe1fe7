"""A connection to PostgreSQL that comes back, and says in one line what it was refused."""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from fusionreid.errors import GalleryError
from fusionreid.utils.optional import import_optional
from fusionreid.utils.terminal import say

from ..address import DatabaseAddress

# Seconds to wait before each further attempt.
WAITS = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0)
# The least version of pgvector: it has iterative scans.
PGVECTOR = (0, 8)
# Where an address says nothing else: a lost peer is noticed within half a minute.
CONNECTION = dict(
    connect_timeout=10,
    keepalives_idle=10,
    keepalives_interval=5,
    keepalives_count=3,
    tcp_user_timeout=30_000,
    application_name='fusionreid',
)
LOST = ('57P01', '57P02', '57P03', '57P05', '08000', '08003', '08006', '25P03')
DEADLOCK, NOT_SERIALIZABLE, DISK_FULL, READ_ONLY = '40P01', '40001', '53100', '25006'
NO_PRIVILEGE, LOCKED = '42501', '55P03'
INSTALL = (
    'install pgvector 0.8 or later on its machine, then let an administrator run '
    'CREATE EXTENSION vector in the database'
)

Result = TypeVar('Result')


class Notice(NamedTuple):
    """What a server tells besides a result.

    Attributes:
        severity: ``'INFO'``, ``'WARNING'`` and so on.
        detail: In words, which may be of any language; empty if there is no more to say.
    """

    severity: str
    detail: str


class Postgres:
    """Runs statements in a database, again where a connection is lost or two block each other.

    Threads share it, one after the other.

    Args:
        address: The database.

    Raises:
        GalleryError: If psycopg or pgvector is not installed.
    """

    def __init__(self, address: DatabaseAddress) -> None:
        user, packages = "the engine 'pgvector'", 'psycopg[binary] pgvector'
        self.psycopg = import_optional('psycopg', packages, user, GalleryError)
        self.sql = import_optional('psycopg.sql', packages, user, GalleryError)
        self._conninfo = import_optional('psycopg.conninfo', packages, user, GalleryError)
        self._types = import_optional('pgvector.psycopg', packages, user, GalleryError)
        self.address = address
        self.extension: tuple[int, ...] | None = None
        self._connection: Any = None
        # One that was there comes back; one that never was is told at once.
        self._was_connected = False
        self._lock = threading.RLock()
        self._settings: dict[str, object] = {}

    def close(self) -> None:
        """End the connection; the next statement makes another one."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def read(self, query: Any, values: Any = (), **settings: object) -> list[Any]:
        """Read rows.

        Args:
            query: One statement.
            values: What stands in the place of its parameters.
            **settings: Settings of the server that must hold, with ``__`` for a dot.

        Returns:
            The rows.

        Raises:
            GalleryError: If the database refuses, or cannot be reached any more.
        """

        def work(connection: Any) -> list[Any]:
            # An index that is measured must be used, however small the table.
            self._set(connection, dict(enable_seqscan='on') | settings)
            return connection.cursor(binary=True).execute(query, values).fetchall()

        return self._try(work, 'read')

    def write(self, work: Callable[[Any], Result], what: str) -> Result:
        """Change something, all of it or nothing.

        Args:
            work: Is given the connection within a transaction; called again after a failure that
                passes, such as a lost connection.
            what: What it does, for messages.

        Returns:
            What ``work`` returns.

        Raises:
            GalleryError: If the database refuses, or cannot be reached any more.
        """

        def transact(connection: Any) -> Result:
            with connection.transaction():
                return work(connection)

        return self._try(transact, what)

    def alone(
        self, statement: Any, what: str, excused: str | None = None, **settings: object
    ) -> list[Notice] | None:
        """Run a statement outside of a transaction, such as ``ANALYZE``.

        Args:
            statement: The statement.
            what: What it does, for messages.
            excused: A code of SQL for which it may fail.
            **settings: Settings of the server for it, which stay for the connection.

        Returns:
            What the server tells besides; None if it failed with that code.

        Raises:
            GalleryError: If the database refuses for something else, or cannot be reached.
        """

        def work(connection: Any) -> list[Notice] | None:
            notices: list[Notice] = []

            def hear(told: Any) -> None:
                notices.append(Notice(told.severity_nonlocalized, told.message_detail or ''))

            self._set(connection, settings)
            connection.add_notice_handler(hear)
            try:
                connection.execute(statement)
            except self.psycopg.Error as error:
                if error.sqlstate != excused:
                    raise
                return None
            finally:
                connection.remove_notice_handler(hear)
            return notices

        return self._try(work, what)

    def _try(self, work: Callable[[Any], Result], what: str) -> Result:
        for attempt in range(len(WAITS) + 1):
            try:
                with self._lock:
                    return work(self._connected())
            except self.psycopg.Error as error:
                lost = self._is_lost(error)
                if lost:
                    self.close()
                if attempt == len(WAITS) or not (lost or self._passes(error)):
                    raise self._explain(error, what, attempt) from None
                # Two that block each other must not try again at the same moment.
                wait = WAITS[attempt] * random.uniform(0.5, 1)
                say(
                    f'{self.address.safe_url}: {self._reason(error)}; attempt {attempt + 2} of '
                    f'{len(WAITS) + 1} in {wait:.1f} s',
                    sys.stderr,
                )
                time.sleep(wait)
        raise AssertionError

    def _is_lost(self, error: Any) -> bool:
        return error.sqlstate in LOST or self._connection is None or self._connection.closed

    def _passes(self, error: Any) -> bool:
        return error.sqlstate in (DEADLOCK, NOT_SERIALIZABLE)

    def _reason(self, error: Exception) -> str:
        # Of several lines, the first says what; the rest quotes values or tells where.
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return self.address.hide(lines[0] if lines else type(error).__name__)

    def _explain(self, error: Any, what: str, attempt: int) -> GalleryError:
        tried = f' ({attempt + 1} attempts)' if attempt else ''
        begin = f'{self.address}: cannot {what}{tried}: {self._reason(error)}'
        if isinstance(error, self.psycopg.errors.UniqueViolation):
            return GalleryError(
                f'{self.address}: cannot {what}: an id of these items is in the gallery already, '
                f'added by another process meanwhile; nothing of this batch was added, run again '
                f'for the rest'
            )
        hints = {
            DISK_FULL: 'the disk of the database is full; the batch at work was taken back whole, '
            'what was added before is kept: free space and run again',
            READ_ONLY: 'this server can only be read from (a replica): write to the primary',
            NO_PRIVILEGE: 'ask the owner of the database for the privilege',
        }
        hint = hints.get(error.sqlstate)
        return GalleryError(f'{begin}: {hint}' if hint else begin)

    def _connected(self) -> Any:
        if self._connection is not None and not self._connection.closed:
            return self._connection
        self._connection = None
        try:
            given = self._conninfo.conninfo_to_dict(self.address.url)
            own = {name: value for name, value in CONNECTION.items() if name not in given}
            connection = self.psycopg.connect(self.address.url, autocommit=True, **own)
        except self.psycopg.Error as error:
            if self._was_connected:
                raise
            # No cause, since libpq may quote what it cannot read.
            reason = self._reason(error)
            raise GalleryError(f'no connection to {self.address.safe_url}: {reason}') from None
        self._connection, self._settings = connection, {}
        try:
            self._prepare(connection)
        except GalleryError:
            self.close()
            raise
        self._was_connected = True
        return connection

    def _prepare(self, connection: Any) -> None:
        encoding = connection.info.parameter_status('server_encoding')
        if encoding != 'UTF8':
            raise GalleryError(f'{self.address.safe_url} has the encoding {encoding}, not UTF8')
        # Compiling takes longer than a search.
        self._set(connection, dict(jit='off'))
        row = connection.execute(
            "SELECT extversion FROM pg_extension WHERE extname = 'vector'"
        ).fetchone()
        self.extension = tuple(map(int, row[0].split('.')[:2])) if row else None
        if self.extension:
            self.register(connection)

    def register(self, connection: Any) -> None:
        """Let a connection read and write pgvector's types.

        Raises:
            GalleryError: If the extension is too old, or not in the search path.
        """
        if self.extension is None or self.extension < PGVECTOR:
            raise GalleryError(
                f'{self.address.safe_url} has pgvector {".".join(map(str, self.extension or ()))}: '
                f'{INSTALL} (ALTER EXTENSION vector UPDATE)'
            )
        try:
            self._types.register_vector(connection)
        except self.psycopg.ProgrammingError as error:
            raise GalleryError(
                f'{self.address.safe_url}: {error}: add the schema of the extension to the '
                f'search_path'
            ) from None

    def add_extension(self, connection: Any) -> None:
        """Make pgvector's extension, unless it is there.

        Raises:
            GalleryError: If that is not allowed, or it is not installed.
        """
        if self.extension is None:
            try:
                with connection.transaction():
                    connection.execute('CREATE EXTENSION IF NOT EXISTS vector')
            except self.psycopg.Error as error:
                raise GalleryError(
                    f'{self.address.safe_url} has no extension vector ({self._reason(error)}): '
                    f'{INSTALL}'
                ) from None
            row = connection.execute(
                "SELECT extversion FROM pg_extension WHERE extname = 'vector'"
            ).fetchone()
            self.extension = tuple(map(int, row[0].split('.')[:2]))
            self.register(connection)

    def _set(self, connection: Any, settings: dict[str, object]) -> None:
        for name, value in settings.items():
            if self._settings.get(name) != value:
                connection.execute(
                    'SELECT set_config(%s, %s, false)', (name.replace('__', '.'), str(value))
                )
                self._settings[name] = value
