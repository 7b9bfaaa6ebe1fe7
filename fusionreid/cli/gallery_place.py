"""Where a gallery is, as the commands name it: a folder, or a table of PostgreSQL."""

from __future__ import annotations

import argparse

from fusionreid.cli.option_actions import EngineOptions
from fusionreid.errors import GalleryError
from fusionreid.gallery.address import DatabaseAddress, read_place
from fusionreid.gallery.engines import engine_names

INDEX_HELP = 'folder made by fusionreid index, or table as postgresql://HOST/DATABASE#TABLE'
DATABASE_ENGINE = 'pgvector'


def gallery_place(text: str) -> str | DatabaseAddress:
    """Read where a gallery is; as text, an address of a database shows no password.

    Example:
        >>> gallery_place('work_dirs/people'), str(gallery_place('postgresql://anna:secret@db/team'))
        ('work_dirs/people', 'postgresql://anna@db/team#people')
    """
    try:
        return read_place(text)
    except GalleryError as error:
        # A ValueError would make argparse quote the argument, with its password.
        raise argparse.ArgumentTypeError(str(error)) from None


def add_new_index_arguments(parser: argparse.ArgumentParser) -> None:
    """Add where an index is to be, and its engine."""
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument(
        '-o', '--out', type=gallery_place, metavar='INDEX', help='folder of the index'
    )
    where.add_argument(
        '--url',
        dest='out',
        type=_database,
        metavar='URL',
        help='database of the index, for the engine pgvector: postgresql://HOST/DATABASE#TABLE '
        '(table: people); passwords are better left to PGPASSWORD or ~/.pgpass',
    )
    parser.add_argument(
        '--engine',
        choices=engine_names(),
        help='search engine (default: exact; pgvector for a database)',
    )
    parser.add_argument(
        '--engine-options',
        nargs='+',
        action=EngineOptions,
        help='settings of the engine, e.g. probes=64 or uri=http://localhost:19530',
    )


def check_new_index_arguments(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Refuse another engine for a database, and take its table from the options.

    Args:
        args: With the arguments of :func:`add_new_index_arguments`.
        parser: Is told what does not go together.
    """
    if not isinstance(args.out, DatabaseAddress):
        return
    if args.engine not in (None, DATABASE_ENGINE):
        parser.error(f'the engine of a database is {DATABASE_ENGINE}, not {args.engine}')
    options = dict(args.engine_options or {})
    if 'url' in options:
        parser.error('the database is named by --url already: leave url= out')
    if 'table' in options:
        args.out = DatabaseAddress(args.out.url, str(options.pop('table')))
    args.engine, args.engine_options = DATABASE_ENGINE, options


def _database(text: str) -> DatabaseAddress:
    place = gallery_place(text)
    if not isinstance(place, DatabaseAddress):
        raise argparse.ArgumentTypeError('a database has the form postgresql://HOST/DATABASE#TABLE')
    return place
