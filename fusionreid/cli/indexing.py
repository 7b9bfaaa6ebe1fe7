"""What the commands share that put images into an index."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from fusionreid.datasets.annotation import ROLES
from fusionreid.errors import GalleryError
from fusionreid.gallery import Gallery
from fusionreid.gallery.address import Place
from fusionreid.gallery.labelled_images import LabelledImages, is_table, read_images
from fusionreid.gallery.names import number_labels
from fusionreid.gallery.times import TIME
from fusionreid.utils.integers import UNKNOWN
from fusionreid.utils.terminal import say
from fusionreid.visualization.style import camera_name

RECALL_K, RECALL_QUERIES = 10, 200
SHOWN_CAMERAS = 10
# Engines whose recall is measured when an index is made.
APPROXIMATE = ('compressed', 'faiss_ivfpq')


def add_label_arguments(parser: argparse.ArgumentParser) -> None:
    """Add where the labels of images come from."""
    parser.add_argument(
        '--cameras-from-folders',
        action='store_true',
        help='the folder that an image lies in names its camera',
    )
    parser.add_argument('--role', choices=ROLES, nargs='+', help='rows of a table (default: all)')


def add_time_argument(parser: argparse.ArgumentParser) -> None:
    """Add where it is known from when an image was seen."""
    parser.add_argument(
        '--times-from-files',
        action='store_true',
        help='keep when its file was last changed as the time when an image was seen, for '
        'search --seen-after and gallery prune',
    )


def read_sources(args: argparse.Namespace, sources: Sequence[str]) -> list[LabelledImages]:
    """Read the images of folders and tables, and say what is not taken.

    Args:
        args: What :func:`add_label_arguments` added.
        sources: Folders, tables or images.

    Returns:
        The images of each source.

    Raises:
        GalleryError: If there is no image, or an option fits none of the sources.
    """
    tables = [is_table(source) for source in sources]
    if args.role and not any(tables):
        raise GalleryError(
            f'{sources[0]} is no table (.csv), and only its rows have roles: leave out --role'
        )
    if args.cameras_from_folders and all(tables):
        raise GalleryError(
            f'{sources[0]} says itself which camera saw an image: leave out --cameras-from-folders'
        )
    found = [read_images(source, args.cameras_from_folders, args.role) for source in sources]
    for images in found:
        for line in images.notes:
            say(line, sys.stderr)
    return found


def add_to_index(
    gallery: Gallery,
    images: LabelledImages,
    source: str,
    out: Place,
    times_from_files: bool = False,
) -> Sequence[str]:
    """Add the images that are new, and save the index.

    What was computed before an interruption is saved too.

    Args:
        gallery: The gallery.
        images: The images.
        source: Where they are from, for what is printed.
        out: Where the index is.
        times_from_files: Whether an image was seen when its file was last changed.

    Returns:
        Why images could not be decoded, a line each.
    """
    known = gallery.known(images.paths)
    new = images.take([row for row, path in enumerate(images.paths) if path not in known])
    say(f'{source}: {len(images)} images, {len(new)} of them new')
    _say_labels(new)
    _say_changed(gallery, images, known)
    before = len(gallery)
    try:
        report = gallery.add(
            new.paths,
            person_ids=new.people,
            camera_ids=new.cameras,
            metadata=_metadata_of(new, times_from_files),
            progress=sys.stderr.isatty(),
        )
    except BaseException:  # an interrupt, or the device is out of memory
        if len(gallery) > before:
            gallery.save(out)
            say(f'stopped; {len(gallery)} images are in {out}, run again for the rest')
        raise
    if report.added:
        gallery.save(out)
    return list(report.failed.values())


def finish(gallery: Gallery, out: Place, failed: Sequence[str]) -> None:
    """Say what the index holds now.

    Args:
        gallery: The gallery.
        out: Where the index is.
        failed: Why images could not be decoded, a line each.

    Raises:
        GalleryError: If images could not be decoded; they are named first.
    """
    if gallery.spec is not None and len(gallery):
        say(f'{out}: {len(gallery)} images, engine {gallery.engine.name}, {gallery.spec.label}')
    if gallery.engine.name in APPROXIMATE and len(gallery) > RECALL_K:
        recall = gallery.measure_recall(RECALL_K, RECALL_QUERIES)
        say(f'recall@{RECALL_K} against the exact search: {recall:.3f}')
    for reason in failed:
        say(reason, sys.stderr)
    if failed:
        raise GalleryError(f'{len(failed)} images, named above, could not be indexed')


def _metadata_of(images: LabelledImages, times_from_files: bool) -> list[dict[str, Any]] | None:
    """What is known of images besides; times of a table go before those of the files."""
    if not times_from_files:
        return images.metadata or None
    known = images.metadata or [{}] * len(images)
    return [
        {TIME: _changed(path), **record} for path, record in zip(images.paths, known, strict=True)
    ]


def _changed(path: str) -> datetime:
    """When a file was last changed."""
    return datetime.fromtimestamp(os.stat(path).st_mtime, timezone.utc)


def _say_labels(new: LabelledImages) -> None:
    if not len(new):
        return
    if new.from_names:
        labels = list(zip(new.people, new.cameras, strict=True))
        read = len(labels) - labels.count((UNKNOWN, UNKNOWN))
        others = '' if read == len(labels) else '; unknown for the others'
        say(f'identity and camera read from {read} of {len(labels)} file names{others}')
        return
    cameras = sorted({camera_name(camera) for camera in new.cameras if camera != UNKNOWN})
    people = {person for person in new.people if person != UNKNOWN}
    more = ', ...' if len(cameras) > SHOWN_CAMERAS else ''
    say(
        f'{len(cameras)} cameras: {", ".join(cameras[:SHOWN_CAMERAS])}{more}; {len(people)} '
        f'identities; unknown: {new.cameras.count(UNKNOWN)} cameras, '
        f'{new.people.count(UNKNOWN)} identities'
    )


def _say_changed(gallery: Gallery, images: LabelledImages, known: set[str]) -> None:
    """Say which images of the index have other labels now; they keep those that they have."""
    there = gallery.find(known)
    labels = zip(there.person_ids, there.camera_ids, strict=True)
    kept = dict(zip(there.ids, labels, strict=True))
    people, _ = number_labels(images.people, 'person_ids')
    cameras, _ = number_labels(images.cameras, 'camera_ids')
    changed = [
        path
        for path, *given in zip(images.paths, people, cameras, strict=True)
        if path in kept
        and any(new not in (UNKNOWN, old) for new, old in zip(given, kept[path], strict=True))
    ]
    if changed:
        say(
            f'{len(changed)} images have another camera or identity in the index, and keep it, '
            f'such as {changed[0]}: to take them anew, remove them first (fusionreid index remove)'
        )
