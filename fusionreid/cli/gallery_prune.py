"""Remove what was seen too long ago from an index; the files of the images stay.

    fusionreid gallery prune INDEX --older-than 30d

The time of an image is the column ``time`` of its metadata (`fusionreid index --times-from-files`,
or `Gallery.add(metadata=...)` in Python). Images without one stay, and are counted.
"""

from __future__ import annotations

import argparse
from datetime import datetime, timezone

from fusionreid.gallery import Gallery
from fusionreid.gallery.times import find_older
from fusionreid.utils.durations import describe_duration
from fusionreid.utils.terminal import say

from .arguments import duration
from .gallery_place import INDEX_HELP, gallery_place
from .index_remove import add_deletion_arguments, delete


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('index', type=gallery_place, help=INDEX_HELP)
    parser.add_argument(
        '--older-than',
        type=duration,
        required=True,
        metavar='AGE',
        help='age from which on images are removed: 30d, 12h, 2w, 90min',
    )
    parser.add_argument(
        '--dry-run', action='store_true', help='say how many would be removed, and remove none'
    )
    add_deletion_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Remove what is too old."""
    gallery = Gallery.load(args.index)
    older, without = find_older(gallery, datetime.now(timezone.utc) - args.older_than)
    age = describe_duration(args.older_than.total_seconds())
    if without:
        say(f'{without} images have no time, and stay')
    if args.dry_run:
        say(f'{args.index}: {len(older)} of {len(gallery)} images are older than {age}')
        return
    delete(gallery, args, older, f'older than {age}')
