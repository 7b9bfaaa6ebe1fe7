"""Leaves nothing of removed items in the files of PostgreSQL: tables, statistics and its log.

A removed row is only marked as dead. Its bytes stay in pages of the table and its indexes, its
values among the statistics for planning queries, and all of that in the write-ahead log (WAL),
whose segments are renamed and used again with what is in them.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Mapping
from contextlib import closing

from fusionreid.utils.terminal import say

from ..address import DatabaseAddress
from .pgvector_schema import Schema
from .postgres import LOCKED, WAITS, Notice, Postgres

# What waits for a table that others use, and lets others wait behind it, ends after so long.
LOCK_WAIT = '30s'
# Bytes of a message that fills the log, whose segments have 16 MiB by default.
FILLER = 4 << 20
SEGMENTS = "SELECT name FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$'"
MAY_WRITE_LOG = (
    "SELECT has_function_privilege('pg_ls_waldir()', 'EXECUTE') "
    "AND has_function_privilege('pg_switch_wal()', 'EXECUTE') "
    'AND EXISTS (SELECT FROM pg_roles WHERE (rolsuper AND rolname = current_user) '
    "OR (rolname = 'pg_checkpoint' AND pg_has_role(oid, 'USAGE')))"
)


def erase_removed(address: DatabaseAddress, settings: Mapping[str, object]) -> list[str]:
    """Write the table anew, and overwrite what the server keeps of the old one.

    Meanwhile searches and additions wait, and the table is twice on the disk.

    Args:
        address: The table.
        settings: Settings of the server for making its indexes.

    Returns:
        Where something may be left and what to do about it, a phrase each; nothing if all is gone.

    Raises:
        GalleryError: If the database refuses, or cannot be reached any more.
    """
    # A connection of its own, so that the settings are nobody else's.
    with closing(Postgres(address)) as postgres:
        schema = Schema(postgres, address)
        rewritten = postgres.alone(
            schema.statement('VACUUM (FULL, VERBOSE) {items}'),
            'write the table anew',
            LOCKED,
            lock_timeout=LOCK_WAIT,
            statement_timeout=0,  # however long the index takes
            **settings,
        )
        if rewritten is None:
            return [
                f'the files of the table still have their bytes: another transaction has used the '
                f'table for {LOCK_WAIT}; end it, and run again with --erase'
            ]
        # Common values, and some in between, are copied into the statistics.
        postgres.alone(schema.statement('ANALYZE {items}'), 'count values')
        statistics = postgres.alone(
            'VACUUM (FULL, VERBOSE) pg_catalog.pg_statistic',
            'write the statistics anew',
            LOCKED,
            lock_timeout=LOCK_WAIT,
        )
        left = []
        if dead := _still_dead(rewritten):
            left.append(
                f'the files of the table still have {dead} dead rows, which a transaction or a '
                f'replication slot that is older than the removal may read: end it, and run again '
                f'with --erase'
            )
        if (
            statistics is None
            or _still_dead(statistics)
            or any(notice.severity == 'WARNING' for notice in statistics)
        ):
            left.append(
                'pg_statistic may still have some of their values: let the owner of the database '
                'run VACUUM FULL pg_catalog.pg_statistic while no older transaction is open'
            )
        return left + _erase_log(postgres)


def _still_dead(notices: list[Notice]) -> int:
    """Dead rows that were copied, by what VACUUM reports; numbers go first in any language."""
    counts = [re.match(r'\d+', notice.detail) for notice in notices]
    return sum(int(count[0]) for count in counts if count)


def _erase_log(postgres: Postgres) -> list[str]:
    """Let the log begin anew, and write over its old segments."""
    ((allowed,),) = postgres.read(MAY_WRITE_LOG)
    if not allowed:
        return [
            'the write-ahead log of the server still has their bytes: let a superuser run this '
            'with --erase, or one with the privileges of pg_checkpoint, pg_monitor and EXECUTE on '
            'pg_switch_wal'
        ]
    # Behind all that was written of them; what is before it, is not needed to recover.
    postgres.read('SELECT pg_switch_wal()')
    for wait in (0.0, *WAITS):
        time.sleep(wait)
        postgres.alone('CHECKPOINT', 'write a checkpoint')
        ((current, last, kept),) = postgres.read(
            'SELECT current, max(name), count(*) FILTER (WHERE name < current) '
            f'FROM ({SEGMENTS}) AS segments, '
            'pg_walfile_name(pg_current_wal_insert_lsn()) AS current GROUP BY current'
        )
        # A replica or an archive may need a moment for the last segment.
        if not kept:
            break
    else:
        return [
            f'the write-ahead log of the server keeps {kept} segments from before, for replication '
            f'slots, an archive or wal_keep_size: let them go on, and run again with --erase'
        ]
    filled = 0
    while current <= last:
        ((current,),) = postgres.read(
            "SELECT pg_walfile_name(pg_logical_emit_message(false, 'fusionreid', repeat(' ', %s)))",
            (FILLER,),
        )
        filled += FILLER
    postgres.read('SELECT pg_switch_wal()')
    say(f'{filled >> 20} MiB of the write-ahead log were overwritten', sys.stderr)
    return []
