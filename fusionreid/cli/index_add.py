"""Add images to an index, by the model that it was made with.

    fusionreid index add INDEX IMAGES_DIR [...]

Images that are there already are not computed again.
"""

from __future__ import annotations

import argparse

from fusionreid.gallery import Gallery
from fusionreid.gallery.storage import check_place

from .extraction import add_index_arguments
from .indexing import add_label_arguments, add_time_argument, add_to_index, finish, read_sources


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_index_arguments(parser)
    parser.add_argument(
        'images', nargs='+', help='folders of images, tables of images (.csv), or images'
    )
    add_label_arguments(parser)
    add_time_argument(parser)


def run(args: argparse.Namespace) -> None:
    """Add what is new and save."""
    sources = read_sources(args, args.images)
    gallery = Gallery.load(args.index, device=args.device)
    check_place(args.index)
    gallery.use_model(args.checkpoint, args.config, projection=args.projection)
    failed: list[str] = []
    for source, images in zip(args.images, sources, strict=True):
        failed += add_to_index(gallery, images, source, args.index, args.times_from_files)
    finish(gallery, args.index, failed)
