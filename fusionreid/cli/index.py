"""Make a searchable index of a folder of images, or of a table of them.

    fusionreid index IMAGES_DIR CHECKPOINT -o INDEX
    fusionreid index people.csv CHECKPOINT -o INDEX

Run again, the command adds the images that are new. `fusionreid index add`, `index remove` and
`index merge` change an index.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from fusionreid.apis import FeatureExtractor
from fusionreid.cli.extraction import add_extraction_arguments, build_extractor
from fusionreid.cli.indexing import add_label_arguments, add_to_index, finish, read_sources
from fusionreid.cli.option_actions import EngineOptions
from fusionreid.errors import GalleryError
from fusionreid.gallery import Gallery
from fusionreid.gallery.engines import engine_names
from fusionreid.gallery.versioned_folder import MANIFEST, check_target


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_extraction_arguments(
        parser, 'folder of images; the folders below it count too; or a table of images (.csv)'
    )
    add_label_arguments(parser)
    parser.add_argument('-o', '--out', required=True, metavar='INDEX', help='folder of the index')
    parser.add_argument('--engine', choices=engine_names(), help='search engine (default: exact)')
    parser.add_argument(
        '--engine-options',
        nargs='+',
        action=EngineOptions,
        help='settings of the engine, e.g. probes=64 or uri=http://localhost:19530',
    )


def open_gallery(args: argparse.Namespace, extractor: FeatureExtractor) -> Gallery:
    """Load an index if it is there, else begin one.

    Args:
        args: Arguments of the command: its folder and engine.
        extractor: The model.

    Returns:
        The gallery.

    Raises:
        GalleryError: It is of another model or engine.
    """
    options = args.engine_options or {}
    if not (Path(args.out) / MANIFEST).exists():
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
    check_target(args.out)
    failed = add_to_index(gallery, images, args.images_dir, args.out)
    finish(gallery, args.out, failed)
