"""Which images a search may find: by camera, identity, metadata and time."""

from __future__ import annotations

import argparse
import math
from datetime import datetime, timezone
from typing import Any

from fusionreid.errors import GalleryError
from fusionreid.gallery import Between, Gallery, read_where
from fusionreid.gallery.metadata import read_conditions
from fusionreid.gallery.names import Label
from fusionreid.gallery.times import TIME, time_of
from fusionreid.utils.durations import read_duration
from fusionreid.utils.names import is_number
from fusionreid.video.passage_folder import find_passages


def camera_label(text: str) -> Label:
    """Read a camera: its name, or its number from 1, which is returned counted from 0.

    Example:
        >>> camera_label('1'), camera_label('north door')
        (0, 'north door')
    """
    if not is_number(text):
        return text
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'cameras are counted from 1, got {text}')
    return int(text) - 1


def person_label(text: str) -> Label:
    """Read an identity: its name or its number.

    Example:
        >>> person_label('12'), person_label('anna')
        (12, 'anna')
    """
    if not is_number(text):
        return text
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f'identities are whole numbers or names, got {text}')
    return int(text)


def time_of_video(text: str) -> float:
    """Read a time from the beginning of a video, in seconds or as a clock shows it.

    Example:
        >>> time_of_video('12.5'), time_of_video('12:31'), time_of_video('01:00:07')
        (12.5, 751.0, 3607.0)
    """
    problem = f'times are seconds, MM:SS or HH:MM:SS, got {text}'
    *larger, last = text.split(':')
    try:
        seconds = float(last)
    except ValueError:
        raise argparse.ArgumentTypeError(problem) from None
    fits = not larger or (seconds < 60 and last[:1].isdigit())
    if not 0 <= seconds < math.inf or len(larger) > 2 or not fits:
        raise argparse.ArgumentTypeError(problem)
    for power, part in enumerate(reversed(larger), 1):
        # Only the first part may go beyond 59.
        if not part.isdecimal() or (power < len(larger) and int(part) > 59):
            raise argparse.ArgumentTypeError(problem)
        seconds += int(part) * 60**power
    return seconds


def moment(text: str) -> datetime:
    """Read a time, or an age, which is counted back from now.

    Example:
        >>> moment('2024-05-01T08:00+02:00').isoformat()
        '2024-05-01T06:00:00+00:00'
    """
    try:
        return datetime.now(timezone.utc) - read_duration(text)
    except ValueError:
        pass
    try:
        found = time_of({TIME: text})
    except GalleryError:
        found = None
    if found is None:
        raise argparse.ArgumentTypeError(
            f'expected a time such as 2024-05-01T08:00 or an age such as 7d, got {text!r}'
        )
    return found


def add_filter_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what an image must be like to be found.

    Args:
        parser: Parser to add it to.
    """
    cameras = 'cameras: names, or numbers from 1 as in file names'
    parser.add_argument(
        '--camera', type=camera_label, nargs='+', help=f'find only images of these {cameras}'
    )
    parser.add_argument(
        '--exclude-camera', type=camera_label, nargs='+', help=f'find no image of these {cameras}'
    )
    parser.add_argument(
        '--identity',
        type=person_label,
        nargs='+',
        help='find only images of these identities: names or numbers',
    )
    parser.add_argument(
        '--exclude-identity',
        type=person_label,
        nargs='+',
        help='find no image of these identities: names or numbers',
    )
    parser.add_argument(
        '--where',
        nargs='+',
        action='extend',
        default=[],
        metavar='CONDITION',
        help='find only images whose metadata, such as the further columns of a table, has a '
        'value: "place=gate 3", of which several for one column are alternatives, "age>=30" or '
        '"age<=40"',
    )
    parser.add_argument(
        '--from-time',
        type=time_of_video,
        metavar='TIME',
        help='find only who was seen at this time of a video or later: seconds, MM:SS or HH:MM:SS '
        '(of an index of fusionreid video)',
    )
    parser.add_argument(
        '--to-time',
        type=time_of_video,
        metavar='TIME',
        help='find only who was seen at this time of a video or earlier',
    )
    parser.add_argument(
        '--seen-after',
        type=moment,
        metavar='TIME',
        help='find only images seen then or later: a time such as 2024-05-01T08:00 (UTC unless it '
        'says +02:00), or an age such as 7d',
    )
    parser.add_argument(
        '--seen-before', type=moment, metavar='TIME', help='find only images seen then or earlier'
    )


def check_filter_arguments(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Read the conditions on metadata, and refuse times in the wrong order.

    Args:
        args: With the arguments of :func:`add_filter_arguments`.
        parser: Is told what does not go together.

    Raises:
        GalleryError: If a condition is none.
    """
    args.where = read_where(args.where)
    times = (args.from_time, args.to_time)
    if None not in times and args.from_time > args.to_time:
        parser.error(
            f'--from-time {times[0]:g} s is later than --to-time {times[1]:g} s: swap them'
        )


def filter_options(args: argparse.Namespace, gallery: Gallery) -> dict[str, Any]:
    """Tell a search what the arguments say.

    Args:
        args: With the arguments of :func:`add_filter_arguments`.
        gallery: What is searched.

    Returns:
        Arguments of :meth:`Gallery.search`.

    Raises:
        GalleryError: If a time is given, and the gallery has none.
    """
    seen = args.seen_after is not None or args.seen_before is not None
    metadata = {TIME: Between(args.seen_after, args.seen_before)} if seen else {}
    return dict(
        cameras=args.camera,
        exclude_cameras=args.exclude_camera,
        person_ids=args.identity,
        exclude_person_ids=args.exclude_identity,
        ids=_seen_between(gallery, args.from_time, args.to_time),
        metadata={*args.where, *read_conditions(metadata)},
    )


def check_columns(args: argparse.Namespace, gallery: Gallery) -> None:
    """Refuse a condition on a column that no image has, which may be misspelled.

    Args:
        args: With the arguments of :func:`add_filter_arguments`.
        gallery: What was searched; all of its items are looked at.

    Raises:
        GalleryError: If there is one; it names the columns that are there.
    """
    wanted = {condition.column for condition in args.where}
    if not wanted:
        return
    known: set[str] = set()
    for items in gallery.item_blocks():
        known.update(*items.metadata)
    if missing := sorted(wanted - known):
        there = ', '.join(sorted(known)) or 'none'
        raise GalleryError(
            f'--where: no image of the index has the column {missing[0]!r} in its metadata; the '
            f'columns are: {there:.300}'
        )


def _seen_between(gallery: Gallery, first: float | None, last: float | None) -> list[str] | None:
    """Items that were seen between two times of their videos; None for all."""
    if first is None and last is None:
        return None
    paths: dict[str, str] = {}
    for items in gallery.item_blocks():
        paths.update(zip(items.ids, items.paths, strict=True))
    passages = find_passages(paths.values())
    if not passages:
        raise GalleryError(
            '--from-time and --to-time: no image of the index has a time, as those of fusionreid '
            'video have: leave them out'
        )
    return [
        item_id
        for item_id, path in paths.items()
        if path in passages and passages[path].is_between(first, last)
    ]
