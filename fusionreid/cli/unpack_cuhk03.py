"""Write the images in cuhk-03.mat of CUHK03 as PNG files.

    fusionreid unpack-cuhk03 data/cuhk03

Makes the folders images_labeled and images_detected beside cuhk-03.mat, or beside the folder
cuhk03_release that holds it. Images that are there already are kept.
"""

from __future__ import annotations

import argparse

from fusionreid.datasets.cuhk03_archive import find_archive, unpack_images
from fusionreid.utils.terminal import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('root', metavar='DIR', help='folder of CUHK03')


def run(args: argparse.Namespace) -> None:
    """Write the images, and say how many."""
    for folder, written in unpack_images(find_archive(args.root), args.root).items():
        say(f'{folder}: {written} images written')
