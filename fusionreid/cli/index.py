"""Make a searchable index of a folder of images, or of a table of them.

    fusionreid index IMAGES_DIR CHECKPOINT -o INDEX
    fusionreid index people.csv CHECKPOINT -o INDEX
    fusionreid index IMAGES_DIR CHECKPOINT --engine pgvector --url postgresql://HOST/DATABASE#TABLE

Run again, the command adds the images that are new. `fusionreid index add`, `index remove` and
`index merge` change an index.
"""

from __future__ import annotations

import argparse

from fusionreid.apis import FeatureExtractor
from fusionreid.cli.extraction import add_extraction_arguments, build_extractor
from fusionreid.cli.gallery_place import add_new_index_arguments, check_new_index_arguments
from fusionreid.cli.indexing import (
    add_label_arguments,
    add_time_argument,
    add_to_index,
    finish,
    read_sources,
)
from fusionreid.errors import GalleryError
from fusionreid.gallery import DatabaseAddress, Gallery
from fusionreid.gallery.storage import check_place, engine_of, gallery_exists


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_extraction_arguments(
        parser, 'folder of images; the folders below it count too; or a table of images (.csv)'
    )
    add_label_arguments(parser)
    add_time_argument(parser)
    add_new_index_arguments(parser)


def check_arguments(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Refuse arguments that do not go together."""
    check_new_index_arguments(args, parser)


def open_gallery(args: argparse.Namespace, extractor: FeatureExtractor) -> Gallery:
    """Load an index if it is there, else begin one.

    Args:
        args: Arguments of the command: where the index is, and its engine.
        extractor: The model.

    Returns:
        The gallery.

    Raises:
        GalleryError: It is of another model or engine.
    """
    options = args.engine_options or {}
    if isinstance(args.out, DatabaseAddress):
        return Gallery(extractor, dict(engine_of(args.out), **options))
    if not gallery_exists(args.out):
        return Gallery(extractor, dict(type=args.engine or 'exact', **options))
    gallery = Gallery.load(args.out, extractor, device=args.device)
    if options or args.engine not in (None, gallery.engine.name):
        raise GalleryError(
            f'{args.out} has the engine {gallery.engine.settings}: to change it, make another index'
        )
    return gallery


def run(args: argparse.Namespace) -> None:
    """Add what is new and save."""
    (images,) = read_sources(args, [args.images_dir])
    gallery = open_gallery(args, build_extractor(args))
    # Before hours of work, not after them.
    check_place(args.out)
    failed = add_to_index(gallery, images, args.images_dir, args.out, args.times_from_files)
    finish(gallery, args.out, failed)
