"""Remove images from an index; their files stay.

    fusionreid index remove INDEX IMAGE_OR_FOLDER [...]
    fusionreid index remove INDEX --missing

Images that are named, lie below a named folder, or have one of the cameras or identities are
removed.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence

from fusionreid.errors import GalleryError
from fusionreid.gallery import Gallery
from fusionreid.gallery.deletion import AUDIT_FILE, delete_items
from fusionreid.gallery.names import Label, find_number
from fusionreid.utils.terminal import say

from .gallery_place import INDEX_HELP, gallery_place
from .search_filters import camera_label, person_label


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('index', type=gallery_place, help=INDEX_HELP)
    parser.add_argument('images', nargs='*', help='images, or folders of images, gone or not')
    parser.add_argument(
        '--camera', type=camera_label, nargs='+', default=[], help='names, or numbers from 1'
    )
    parser.add_argument(
        '--identity', type=person_label, nargs='+', default=[], help='names or numbers'
    )
    parser.add_argument(
        '--missing', action='store_true', help='images whose files do not exist any more'
    )
    add_deletion_arguments(parser)


def add_deletion_arguments(parser: argparse.ArgumentParser) -> None:
    """Add where it is recorded that images were removed, and whether their bytes go too."""
    parser.add_argument(
        '--audit',
        metavar='FILE',
        help=f'file that a line about the removal is appended to: when, who, how many and why, no '
        f'names (default: {AUDIT_FILE} in the folder of the index, of a database '
        f'TABLE-{AUDIT_FILE} in the current one)',
    )
    parser.add_argument(
        '--erase',
        action='store_true',
        help='of a database, also leave no byte of what was removed, now or before, in its files: '
        'its tables are written anew, and searches wait; a folder never keeps any',
    )


def check_arguments(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Refuse to remove nothing."""
    if not (args.images or args.camera or args.identity or args.missing or args.erase):
        parser.error('name what to remove: images, --camera, --identity or --missing')


def run(args: argparse.Namespace) -> None:
    """Remove and save."""
    gallery = Gallery.load(args.index)
    removed = _choose(gallery, args)
    # What was asked for, and not whose images.
    kinds = ('images', 'camera', 'identity', 'missing')
    reason = ', '.join(kind for kind in kinds if getattr(args, kind)) or 'erasure'
    delete(gallery, args, removed, reason)


def delete(gallery: Gallery, args: argparse.Namespace, removed: Sequence[str], reason: str) -> None:
    """Delete images, and say what was done.

    Args:
        gallery: The gallery, as it was loaded.
        args: With the arguments of :func:`add_deletion_arguments`, and the index.
        removed: The ids.
        reason: Why, for the record.
    """
    audit = delete_items(gallery, args.index, removed, reason, args.audit, args.erase)
    say(f'{args.index}: {len(removed)} images removed, {len(gallery)} left')
    if audit is not None:
        say(f'recorded in {audit}')
    if removed and not args.erase and gallery.engine.place is not None:
        say('their bytes stay in the files of the database: --erase removes them too')


def _choose(gallery: Gallery, args: argparse.Namespace) -> list[str]:
    """The ids to remove.

    Raises:
        GalleryError: If one of the things that are named is not there.
    """
    cameras = _numbers(args.camera, gallery.camera_names, 'camera')
    people = _numbers(args.identity, gallery.person_names, 'identity')
    # A folder may be gone as well as an image, so that its path alone can tell.
    named = {name: os.path.abspath(name) for name in args.images}
    unused: dict[str, str] = {
        **{path: f'image or folder {name!r}' for name, path in named.items()},
        **{f'camera {number}': f'camera {label}' for number, label in cameras.items()},
        **{f'identity {number}': f'identity {label}' for number, label in people.items()},
    }
    chosen: list[str] = []
    for items in gallery.item_blocks():
        columns = (items.ids, items.paths, items.camera_ids, items.person_ids)
        for item_id, path, camera, person in zip(*columns, strict=True):
            reasons = [f'camera {camera}'] if camera in cameras else []
            reasons += [f'identity {person}'] if person in people else []
            reasons += [
                place
                for name, place in named.items()
                if item_id in (name, place) or item_id.startswith(place + os.sep)
            ]
            for reason in reasons:
                unused.pop(reason, None)
            if reasons or (args.missing and path and not os.path.exists(path)):
                chosen.append(item_id)
    if unused:
        raise GalleryError(
            f'{args.index} holds nothing of the {next(iter(unused.values()))}: nothing was removed'
        )
    return chosen


def _numbers(labels: list[Label], names: Mapping[int, str], what: str) -> dict[int, str]:
    """What is shown of each camera or identity, by its number."""
    return {
        find_number(label, names, what) if isinstance(label, str) else label: str(
            label + 1 if isinstance(label, int) and what == 'camera' else label
        )
        for label in labels
    }
