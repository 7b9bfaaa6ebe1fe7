"""Group photos into people.

    fusionreid group IMAGES_DIR|people.csv CHECKPOINT -o PEOPLE
    fusionreid group INDEX -o PEOPLE

PEOPLE is a new folder: ``photos.csv`` says who is in which photo, ``people.json`` sums up, and
``overview.png`` and a contact sheet for each person show them. Photos stay where they are.
"""

from __future__ import annotations

import argparse
import os
import sys

from fusionreid.apis import load_calibration
from fusionreid.cli.arguments import positive
from fusionreid.cli.extraction import add_extraction_arguments, build_extractor
from fusionreid.cli.indexing import add_label_arguments, read_sources
from fusionreid.datasets.moments import read_times
from fusionreid.errors import CalibrationError, GalleryError
from fusionreid.evaluation.grouping import METHODS
from fusionreid.evaluation.grouping.methods import (
    DEFAULT_METHOD,
    DEFAULT_MIN_PHOTOS,
    DEFAULT_NEIGHBORS,
)
from fusionreid.gallery import Gallery
from fusionreid.gallery.address import read_place
from fusionreid.gallery.people import People, check_new, find_people, save_people
from fusionreid.gallery.storage import gallery_exists
from fusionreid.utils.terminal import say

DEFAULT_SHEETS = 50


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_extraction_arguments(
        parser,
        'folder of images, with those below it, a table (.csv), or an index (fusionreid index)',
    )
    add_label_arguments(parser)
    parser.add_argument(
        '-o', '--out', required=True, metavar='PEOPLE', help='folder to make; never overwritten'
    )
    parser.add_argument(
        '--method', choices=METHODS, default=DEFAULT_METHOD, help=f'default: {DEFAULT_METHOD}'
    )
    limits = parser.add_mutually_exclusive_group()
    limits.add_argument(
        '--max-distance',
        type=float,
        metavar='D',
        help='distance up to which photos are one person, 0 to 2 (default: found from the photos)',
    )
    limits.add_argument(
        '--max-fpr',
        type=float,
        metavar='RATE',
        help='the same for a share of the pairs of strangers that may be as near, e.g. 0.001; '
        'it needs a calibration',
    )
    parser.add_argument(
        '--calibration',
        metavar='FILE',
        help="what distances mean, for --max-fpr (fusionreid calibrate); otherwise the index's "
        'own, or the one beside the checkpoint',
    )
    parser.add_argument(
        '--times',
        metavar='CSV',
        help='table with the columns path and time: photos that one camera took at the same time '
        'show different people',
    )
    parser.add_argument(
        '--ignore-times',
        action='store_true',
        help='let photos of one camera and time be one person; otherwise frames are read from '
        'names such as 0002_c1s1_000451_03.jpg',
    )
    parser.add_argument(
        '--min-photos',
        type=positive,
        default=DEFAULT_MIN_PHOTOS,
        help=f'photos that make a person; others are unsure (default: {DEFAULT_MIN_PHOTOS})',
    )
    parser.add_argument(
        '--neighbors',
        type=positive,
        default=DEFAULT_NEIGHBORS,
        help=f'nearest photos of each that are looked at (default: {DEFAULT_NEIGHBORS})',
    )
    parser.add_argument(
        '--sheets',
        type=int,
        default=DEFAULT_SHEETS,
        metavar='N',
        help=f'contact sheets, of the people with the most photos (default: {DEFAULT_SHEETS})',
    )
    parser.add_argument(
        '--links', action='store_true', help='also make a folder of links to the photos of each'
    )


def check_arguments(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Refuse arguments that are out of their range or do not go together."""
    if args.sheets < 0:
        parser.error(f'--sheets must be 0 or more, got {args.sheets}')
    if args.max_distance is not None and not 0 <= args.max_distance <= 2:
        parser.error(f'--max-distance must be in 0..2, got {args.max_distance}')
    for name, value in (('--max-distance', args.max_distance), ('--max-fpr', args.max_fpr)):
        if value is not None and args.method == 'hdbscan':
            parser.error(f'{name}: hdbscan finds its own distances, leave it out')
    if args.calibration and args.max_fpr is None:
        parser.error('--calibration is for --max-fpr: give it too, or leave it out')
    if args.times and args.ignore_times:
        parser.error('--times and --ignore-times contradict each other: leave one out')


def run(args: argparse.Namespace) -> None:
    """Group, and write what was found."""
    check_new(args.out)
    failed: list[str] = []
    times = read_times(args.times) if args.times else {}
    place = read_place(args.images_dir)
    if gallery_exists(place):
        if args.checkpoint:
            raise GalleryError(
                f'{place} is an index, which holds its features: leave {args.checkpoint} out'
            )
        gallery = Gallery.load(place)
    else:
        gallery, failed = _read_source(args)
    if args.calibration:
        gallery.calibration = load_calibration(args.calibration)
    if args.max_fpr is not None:
        args.max_distance = _distance_at(gallery, args.max_fpr)
    people = find_people(
        gallery,
        times=_by_id(times, args, gallery),
        use_names=not args.ignore_times,
        method=args.method,
        max_distance=args.max_distance,
        neighbors=args.neighbors,
        min_photos=args.min_photos,
        progress=sys.stderr.isatty(),
    )
    save_people(people, args.out, sheets=args.sheets, links=args.links)
    _tell(people, args)
    if failed:
        raise GalleryError(f'{len(failed)} images, named above, could not be read')


def _distance_at(gallery: Gallery, rate: float) -> float:
    """The distance at which a share of the pairs of strangers is as near."""
    if gallery.calibration is None:
        raise CalibrationError(
            f'--max-fpr {rate:g}: it is not known what distances mean: run fusionreid calibrate, '
            f'or give --max-distance'
        )
    return gallery.calibration.distance_at(rate)


def _read_source(args: argparse.Namespace) -> tuple[Gallery, list[str]]:
    """The images of a folder or table as a gallery, and why some are not in it."""
    (images,) = read_sources(args, [args.images_dir])
    if len(images) < 2:
        raise GalleryError(f'{args.images_dir} holds 1 photo: at least 2 are needed for a group')
    gallery = Gallery(build_extractor(args))
    report = gallery.add(
        images.paths,
        person_ids=images.people,
        camera_ids=images.cameras,
        progress=sys.stderr.isatty(),
    )
    failed = list(report.failed.values())
    for reason in failed:
        say(reason, sys.stderr)
    if not report.added:
        raise GalleryError(f'none of the {len(images)} images, named above, could be read')
    return gallery, failed


def _by_id(times: dict[str, str], args: argparse.Namespace, gallery: Gallery) -> dict[str, str]:
    """Times by the ids of images; a path is an id, or relative to the table.

    Raises:
        GalleryError: If no path is that of an image.
    """
    if not times:
        return {}
    folder = os.path.dirname(os.path.abspath(args.times))
    known = gallery.known(times)
    found: dict[str, str] = {path: times[path] for path in known}
    joined = {os.path.normpath(os.path.join(folder, path)): path for path in times}
    found |= {path: times[joined[path]] for path in gallery.known(joined)}
    if not found:
        raise GalleryError(
            f'{args.times}: none of its {len(times)} paths is a photo of {args.images_dir}, such '
            f'as {next(iter(joined))}: paths are relative to the folder of the table'
        )
    return found


def _tell(people: People, args: argparse.Namespace) -> None:
    """Print what was found, how well it agrees with known identities, and where it is."""
    grouping, count = people.grouping, len(people.items)
    chosen = 'given' if args.max_distance is not None else 'found from the photos'
    if args.max_fpr is not None:
        chosen = f'as near as {args.max_fpr:.2g} of the pairs of strangers'
    limit = grouping.max_distance
    at = f' up to the distance {limit:.4f} ({chosen})' if limit <= 2 else ''
    found = grouping.num_people
    unsure = int((grouping.people < 0).sum())
    say(
        f'{count} photos: {found} {"person" if found == 1 else "people"}, {unsure} photos unsure; '
        f'{METHODS[args.method]}{at}'
    )
    if grouping.num_shared:
        say(f'{grouping.num_shared} photos share camera and time with others and are kept apart')
    if torn := people.torn():
        say(
            f'warning: {torn[0]} photos show a known identity twice at one camera and time, such '
            f'as {torn[1]} and {torn[2]}: they cannot be grouped (--ignore-times lets them be)',
            sys.stderr,
        )
    if scores := people.scores:
        say(
            f'{scores.num_people} identities are known for {scores.num_photos} photos: V-measure '
            f'{scores.v_measure:.3f} (homogeneity {scores.homogeneity:.3f}, completeness '
            f'{scores.completeness:.3f}), pairwise F1 {scores.f1:.3f} (precision '
            f'{scores.precision:.3f}, recall {scores.recall:.3f})'
        )
    drawn = min(found, args.sheets) if any(people.items.paths) else 0
    sheets = f'overview and {drawn} of {found} contact sheets' if drawn else 'no contact sheet'
    why = '' if any(people.items.paths) else ': the index holds features without image files'
    say(f'{args.out}: photos.csv, people.json, {sheets}{why}')
