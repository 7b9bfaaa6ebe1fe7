"""Tables of a gallery in PostgreSQL, step by step: what a version changed is a step of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from fusionreid.errors import GalleryError

from ..address import DatabaseAddress
from .postgres import Postgres

# Suffixes come to a name, of which PostgreSQL cuts off what is beyond 63 bytes.
LONGEST_NAME = 40
STATE = '_state'
# Types that features are kept as, and the most dimensions that HNSW indexes of each.
TYPES = {'half': 'halfvec', 'single': 'vector'}
MOST_INDEXED = {'half': 4000, 'single': 2000}


class Schema:
    """The tables of one gallery: its items, and a small table of what is known about them.

    Args:
        postgres: The database.
        address: Names the table.

    Raises:
        GalleryError: If the name is none that a table can have.
    """

    def __init__(self, postgres: Postgres, address: DatabaseAddress) -> None:
        self.postgres, self.address = postgres, address
        names = address.table.split('.')
        if len(names) > 2 or not all(names) or '\0' in address.table:
            raise GalleryError(f'{address.table!r} is no name of a table, or schema and table')
        for name in names:
            if len(name.encode('utf-8', 'surrogateescape')) > LONGEST_NAME or not _is_text(name):
                raise GalleryError(
                    f'the name of a table has at most {LONGEST_NAME} bytes of UTF-8, got {name!r}'
                )
        self._names = names
        self.items = postgres.sql.Identifier(*names)
        self.state = self.name(STATE)

    def name(self, suffix: str) -> Any:
        """Identifier of what belongs to the table of items, in the same schema."""
        return self.postgres.sql.Identifier(*self._names[:-1], self._names[-1] + suffix)

    def bare_name(self, suffix: str) -> Any:
        """The same without a schema, as an index is named when it is made."""
        return self.postgres.sql.Identifier(self._names[-1] + suffix)

    def statement(self, text: str, **parts: Any) -> Any:
        """Put identifiers and pieces of SQL into a statement.

        Args:
            text: The statement, with ``{items}`` and ``{state}`` for the tables.
            **parts: What stands in the place of further names in braces.
        """
        return self.postgres.sql.SQL(text).format(items=self.items, state=self.state, **parts)

    def regclass(self, identifier: Any) -> str:
        """An identifier as text that ``to_regclass`` reads."""
        return identifier.as_string(None)

    def read_state(self) -> dict[str, str] | None:
        """What is known about the items; None if there is no gallery.

        An older schema is brought up to date first.

        Raises:
            GalleryError: If the table is none of a gallery, or of a newer version.
        """
        names = (self.regclass(self.items), self.regclass(self.state))
        ((items, state),) = self.postgres.read(
            'SELECT to_regclass(%s) IS NOT NULL, to_regclass(%s) IS NOT NULL', names
        )
        if not items and not state:
            return None
        if not (items and state):
            missing = STATE if items else ''
            raise GalleryError(
                f'{self.address} is no gallery: the database has no table '
                f'{self.address.table + missing!r}: choose another table'
            )
        found = self._state()
        version = int(found.get('schema', 0))
        if not 1 <= version <= len(STEPS):
            raise GalleryError(
                f'{self.address} has the schema {version}, and this version of fusionreid knows 1 '
                f'to {len(STEPS)}: upgrade fusionreid'
            )
        if version < len(STEPS):
            self.postgres.write(self._upgrade, f'bring the schema {version} up to {len(STEPS)}')
            found = self._state()
        return found

    def _state(self) -> dict[str, str]:
        return dict(self.postgres.read(self.statement('SELECT name, value FROM {state}')))

    def _upgrade(self, connection: Any) -> None:
        self.lock(connection)
        # Another process may have done it meanwhile.
        query = self.statement("SELECT name, value FROM {state} WHERE name IN ('schema', 'width')")
        state = dict(connection.execute(query).fetchall())
        for step in STEPS[int(state['schema']) :]:
            step(self, connection, {})
        self.set_state(connection, dict(schema=str(len(STEPS))))

    def lock(self, connection: Any) -> None:
        """Let only one process at a time change the tables, to the end of its transaction."""
        digest = hashlib.sha256(self.address.table.encode()).digest()
        key = int.from_bytes(digest[:8], 'big', signed=True)
        connection.execute('SELECT pg_advisory_xact_lock(%s)', (key,))

    def create(self, connection: Any, state: dict[str, str]) -> None:
        """Make the tables, unless they are there.

        Args:
            connection: Within a transaction.
            state: What is known about the items; ``width`` and ``precision`` among it.
        """
        self.postgres.add_extension(connection)
        self.lock(connection)
        there = connection.execute('SELECT to_regclass(%s)', (self.regclass(self.items),))
        if there.fetchone()[0] is not None:
            return
        for step in STEPS:
            step(self, connection, state)
        self.set_state(connection, dict(state, schema=str(len(STEPS))))

    def set_state(self, connection: Any, state: dict[str, str]) -> None:
        """Write what is known, in place of what was.

        Args:
            connection: Within a transaction.
            state: Names with their values.
        """
        query = self.statement(
            'INSERT INTO {state} (name, value) VALUES (%s, %s) '
            'ON CONFLICT (name) DO UPDATE SET value = excluded.value'
        )
        # In one order, so that two that write do not wait for each other.
        connection.cursor().executemany(query, sorted(state.items()))


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _first(schema: Schema, connection: Any, state: dict[str, str]) -> None:
    """Items with identity and camera, as files of the first format have them."""
    sql = schema.postgres.sql
    connection.execute(
        schema.statement(
            'CREATE TABLE {items} (key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, '
            'item_id text NOT NULL UNIQUE, path text NOT NULL, '
            'person_id bigint NOT NULL, camera_id bigint NOT NULL, '
            'person_name text NOT NULL, camera_name text NOT NULL, '
            'feature {kind}({width}) NOT NULL)',
            kind=sql.SQL(TYPES[state['precision']]),
            width=sql.Literal(int(state['width'])),
        )
    )
    # Compressed or moved out, a feature would be slower to read.
    connection.execute(schema.statement('ALTER TABLE {items} ALTER feature SET STORAGE EXTERNAL'))
    for column in ('person_id', 'camera_id'):
        connection.execute(
            schema.statement(
                'CREATE INDEX {name} ON {items} ({column})',
                name=schema.bare_name(f'_{column}'),
                column=sql.Identifier(column),
            )
        )
    connection.execute(
        schema.statement('CREATE TABLE {state} (name text PRIMARY KEY, value text NOT NULL)')
    )


def _metadata(schema: Schema, connection: Any, state: dict[str, str]) -> None:
    """What else is known about items."""
    connection.execute(
        schema.statement("ALTER TABLE {items} ADD metadata jsonb NOT NULL DEFAULT '{{}}'")
    )
    connection.execute(
        schema.statement(
            'CREATE INDEX {name} ON {items} USING gin (metadata jsonb_path_ops)',
            name=schema.bare_name('_metadata'),
        )
    )


Step = Callable[[Schema, Any, dict[str, str]], None]
# The schema of version n is made by the first n of them, of a new table as of an older one.
STEPS: tuple[Step, ...] = (_first, _metadata)
