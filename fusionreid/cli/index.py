"""Make a searchable index of a folder of images.

    fusionreid index IMAGES_DIR CHECKPOINT -o INDEX

Run again, the command adds the images that are new.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fusionreid.apis import FeatureExtractor
from fusionreid.cli.extraction import add_extraction_arguments, build_extractor, find_images
from fusionreid.cli.option_actions import EngineOptions
from fusionreid.errors import GalleryError
from fusionreid.gallery import Gallery
from fusionreid.gallery.engines import engine_names
from fusionreid.gallery.image_folder import read_name
from fusionreid.gallery.versioned_folder import MANIFEST, check_target
from fusionreid.utils.integers import UNKNOWN
from fusionreid.utils.terminal import say

RECALL_K, RECALL_QUERIES = 10, 200


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_extraction_arguments(parser)
    parser.add_argument('-o', '--out', required=True, metavar='INDEX', help='folder of the index')
    parser.add_argument('--engine', choices=engine_names(), help='search engine (default: exact)')
    parser.add_argument(
        '--engine-options',
        nargs='+',
        action=EngineOptions,
        help='settings of the engine, e.g. probes=64 or uri=http://localhost:19530',
    )


def _open_gallery(args: argparse.Namespace, extractor: FeatureExtractor) -> Gallery:
    """Load the index if it is there, else begin one."""
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
    paths = find_images(args.images_dir)
    gallery = _open_gallery(args, build_extractor(args))
    # Before hours of work, not after them.
    check_target(args.out)
    known = gallery.known(paths)
    new = [path for path in paths if path not in known]
    labels = [read_name(path) for path in new]
    say(f'{args.images_dir}: {len(paths)} images, {len(new)} of them new')
    if new:
        read = len(labels) - labels.count((UNKNOWN, UNKNOWN))
        say(
            f'identity and camera read from {read} of {len(new)} file names'
            + ('' if read == len(new) else '; unknown for the others')
        )
    before = len(gallery)
    try:
        report = gallery.add(
            new,
            person_ids=[person for person, _ in labels],
            camera_ids=[camera for _, camera in labels],
            progress=sys.stderr.isatty(),
        )
    except BaseException:  # an interrupt, or the device is out of memory
        if len(gallery) > before:
            gallery.save(args.out)
            say(f'stopped; {len(gallery)} images are in {args.out}, run again for the rest')
        raise
    if report.added:
        gallery.save(args.out)
    if gallery.spec is not None and len(gallery):
        say(
            f'{args.out}: {len(gallery)} images, engine {gallery.engine.name}, {gallery.spec.label}'
        )
    if gallery.engine.name == 'faiss_ivfpq' and len(gallery) > RECALL_K:
        recall = gallery.measure_recall(RECALL_K, RECALL_QUERIES)
        say(f'recall@{RECALL_K} against the exact search: {recall:.3f}')
    for reason in report.failed.values():
        say(reason, sys.stderr)
    if report.failed:
        raise GalleryError(f'{len(report.failed)} images, named above, could not be indexed')
