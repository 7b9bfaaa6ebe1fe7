"""What the commands share that turn a folder of images into features."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fusionreid.apis import FeatureExtractor
from fusionreid.apis.feature_extractor import PRECISIONS
from fusionreid.gallery.image_folder import find_image_files
from fusionreid.utils.terminal import say

from .arguments import add_device_argument, add_model_arguments, add_runtime_options
from .gallery_place import INDEX_HELP, gallery_place


def add_extraction_arguments(
    parser: argparse.ArgumentParser,
    images: str = 'folder of images; the folders below it count too',
    name: str = 'images_dir',
) -> None:
    """Add the images, the model, and how the model is used.

    Args:
        parser: Parser to add them to.
        images: What the images may be.
        name: Name of the argument that says where they are.
    """
    parser.add_argument(name, help=images)
    parser.add_argument(
        'checkpoint',
        nargs='?',
        help='trained model, or folder of an exported one; only a model without weights needs none',
    )
    parser.add_argument(
        '--feature', default='all', help='feature of the model (default: all, side by side)'
    )
    parser.add_argument(
        '--mean-camera',
        action='store_true',
        help='take the mean camera embedding for every image: for cameras that the model was not '
        'trained with',
    )
    parser.add_argument('--batch-size', type=int, default=64)
    parser.add_argument(
        '--precision',
        choices=PRECISIONS,
        default='fp32',
        help='fp16 and bf16 compute in automatic mixed precision (default: fp32)',
    )
    add_model_arguments(parser)
    add_runtime_options(parser)
    parser.add_argument(
        '--projection',
        metavar='FILE',
        help='make the features narrower by it (fusionreid fit-projection)',
    )


def add_index_arguments(parser: argparse.ArgumentParser) -> None:
    """Add an index, and where the model that it was made with is."""
    parser.add_argument('index', type=gallery_place, help=INDEX_HELP)
    parser.add_argument('--checkpoint', help='the trained model, if it is not where it was')
    parser.add_argument('--config', help="config file; the index's own otherwise")
    parser.add_argument(
        '--projection',
        metavar='FILE',
        help='the projection that the index was made with, if it is not where it was',
    )
    add_device_argument(parser)


def find_images(folder: str | Path) -> list[str]:
    """List the images of a folder and those below it, and say what is not taken.

    Args:
        folder: The folder.

    Returns:
        Absolute paths, sorted.

    Raises:
        GalleryError: If there is no such folder, or no image in it.
    """
    listing = find_image_files(folder)
    for line in listing.summary():
        say(line, sys.stderr)
    return listing.paths


def build_extractor(args: argparse.Namespace) -> FeatureExtractor:
    """Load the model that the arguments name."""
    return FeatureExtractor(
        args.checkpoint,
        args.config,
        feature=args.feature,
        use_cameras=False if args.mean_camera else None,
        device=args.device,
        batch_size=args.batch_size,
        precision=args.precision,
        runtime=args.runtime_options,
        projection=args.projection,
    )
