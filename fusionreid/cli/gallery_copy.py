"""Copy a gallery into another folder, database or engine, and compare what has arrived.

    fusionreid gallery copy INDEX postgresql://HOST/DATABASE#TABLE
    fusionreid gallery copy postgresql://HOST/DATABASE#TABLE INDEX --engine faiss_flat

Nothing is computed again, and SOURCE stays as it is. Features that a database keeps in half
precision are rounded.
"""

from __future__ import annotations

import argparse

from fusionreid.gallery.copying import copy_gallery
from fusionreid.gallery.engines import engine_names
from fusionreid.utils.terminal import say

from .gallery_place import INDEX_HELP, check_new_index_arguments, gallery_place
from .option_actions import EngineOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('source', type=gallery_place, help=INDEX_HELP)
    parser.add_argument(
        'out', metavar='target', type=gallery_place, help='folder or table, which must not exist'
    )
    parser.add_argument(
        '--engine',
        choices=engine_names(),
        help='search engine (default: exact; pgvector for a database)',
    )
    parser.add_argument(
        '--engine-options', nargs='+', action=EngineOptions, help='settings of the engine'
    )


def check_arguments(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Refuse arguments that do not go together."""
    check_new_index_arguments(args, parser)


def run(args: argparse.Namespace) -> None:
    """Copy and compare."""
    engine = dict(type=args.engine or 'exact', **(args.engine_options or {}))
    arrived, rounded = copy_gallery(args.source, args.out, engine)
    note = ', features in half precision' if rounded else ''
    say(f'{args.out}: {arrived.items} images have arrived{note}, checksum {arrived.checksum[:16]}')
