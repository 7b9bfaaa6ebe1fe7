"""Add what other indexes hold to an index, without computing it again.

    fusionreid index merge INDEX OTHER [...]

The other indexes stay as they are. All must be of one model, feature and protocol.
"""

from __future__ import annotations

import argparse

from fusionreid.gallery import Gallery
from fusionreid.gallery.storage import check_place
from fusionreid.utils.terminal import say

from .gallery_place import INDEX_HELP, gallery_place
from .indexing import finish


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('index', type=gallery_place, help=f'{INDEX_HELP}; it is changed')
    parser.add_argument(
        'others', type=gallery_place, nargs='+', metavar='other', help='further indexes'
    )
    parser.add_argument(
        '--keep-first',
        action='store_true',
        help='of an image that several indexes hold, keep what the first of them has; otherwise '
        'nothing is merged then',
    )


def run(args: argparse.Namespace) -> None:
    """Merge and save."""
    gallery = Gallery.load(args.index)
    check_place(args.index)
    calibration = gallery.calibration
    for other in args.others:
        more = Gallery.load(other)
        added = gallery.merge(more, keep_first=args.keep_first)
        say(f'{other}: {added} images taken')
        if more.calibration is not None and gallery.calibration is None:
            say(
                f'{other}: its calibration is '
                + ('not taken' if calibration is None else f'another one than that of {args.index}')
                + f', which has none now: fusionreid calibrate {args.index} measures one on all '
                'images with identities'
            )
            calibration = None
    gallery.save(args.index)
    finish(gallery, args.index, [])
