"""Folders of images whose names, or paths, tell who is in them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from fusionreid.errors import DatasetFormatError

from .annotation import ReIDRecord
from .image_listing import ImageListing, first_names

# Turns the path of an image, relative to its folder, into identity, camera and perhaps clothes.
NameParser = Callable[[str], tuple[int, ...]]


def parse_path(pattern: re.Pattern[str], path: str, example: str) -> re.Match[str]:
    r"""Match the path of an image, which must follow a pattern as a whole.

    Args:
        pattern: The pattern.
        path: A file name, or a path relative to the folder of the images, with ``/``.
        example: A path that follows the pattern, for the message.

    Returns:
        The match.

    Raises:
        DatasetFormatError: If it does not follow the pattern.

    Example:
        >>> parse_path(re.compile(r'person_(\d+)\.png'), 'person_0007.png', '')[1]
        '0007'
    """
    match = pattern.fullmatch(path)
    if match is None:
        raise DatasetFormatError(f"file name '{path}' does not parse: expected such as {example}")
    return match


def read_named_images(listing: ImageListing, parse: NameParser) -> list[ReIDRecord]:
    """Read what the names of a folder's images tell.

    Args:
        listing: The images.
        parse: What reads a path; it raises DatasetFormatError for one that it does not understand.

    Returns:
        A record for each image.

    Raises:
        DatasetFormatError: If a name does not parse; it names the first, and counts the others.
    """
    records: list[ReIDRecord] = []
    problems: list[str] = []
    others: list[str] = []
    for path in listing.paths:
        name = os.path.relpath(path, listing.folder).replace(os.sep, '/')
        try:
            records.append(ReIDRecord(path, *parse(name)))
        except DatasetFormatError as error:
            (others if problems else problems).append(name if problems else str(error))
    if problems:
        also = f' (and {len(others)} others: {first_names(others)})' if others else ''
        raise DatasetFormatError(
            f'in {listing.folder}: {problems[0]}{also}. Rename or remove the file.'
        )
    return records
