"""Names of people and cameras as a table of items has them."""

from __future__ import annotations

from collections.abc import Callable

from .pgvector_schema import Schema
from .postgres import Postgres
from .stored_names import StoredNames


def names_in_table(
    postgres: Postgres, schema: Schema, kind: str, exists: Callable[[], bool]
) -> StoredNames:
    """Look up names in the table of items.

    Args:
        postgres: The database.
        schema: Of the table.
        kind: ``'person'`` or ``'camera'``.
        exists: Tells whether there is a table yet.

    Returns:
        The names by number.
    """
    sql = postgres.sql
    parts = dict(name=sql.Identifier(f'{kind}_name'), number=sql.Identifier(f'{kind}_id'))

    def find(number: int) -> str | None:
        if not exists():
            return None
        query = schema.statement('SELECT {name} FROM {items} WHERE {number} = %s LIMIT 1', **parts)
        rows = postgres.read(query, (number,))
        return rows[0][0] if rows else None

    def find_all() -> list[str]:
        if not exists():
            return []
        # From each number to the next one, by the index: not through all items.
        query = schema.statement(
            'WITH RECURSIVE found AS ((SELECT {number} AS n FROM {items} ORDER BY 1 DESC '
            'LIMIT 1) UNION ALL SELECT (SELECT {number} FROM {items} WHERE {number} < found.n '
            'ORDER BY 1 DESC LIMIT 1) FROM found WHERE found.n IS NOT NULL) '
            'SELECT (SELECT {name} FROM {items} WHERE {number} = found.n LIMIT 1) FROM found '
            'WHERE found.n IS NOT NULL',
            **parts,
        )
        return sorted(name for (name,) in postgres.read(query) if name)

    return StoredNames(find, find_all)
