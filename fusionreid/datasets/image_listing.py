"""Which files of a folder are taken as images, and what is not taken and why."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fusionreid.errors import DatasetNotFoundError

from .synthetic.writer import RECORD

IMAGE_EXTENSIONS = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff')
# Of other images, so that they are told apart from notes and lists.
OTHER_IMAGE_EXTENSIONS = (
    *('.apng', '.avif', '.cr2', '.dng', '.exr', '.gif', '.heic', '.heif', '.hdr', '.ico', '.jfif'),
    *('.jp2', '.jpe', '.jxl', '.nef', '.pbm', '.pgm', '.pnm', '.ppm', '.psd', '.svg'),
    *('.tga', '.xcf'),
)
NAMED = 3  # names that a summary gives of each kind

FOLDER = 'a folder'
_KINDS = {
    stat.S_IFDIR: FOLDER,
    stat.S_IFIFO: 'a named pipe',
    stat.S_IFSOCK: 'a socket',
    stat.S_IFBLK: 'a device',
    stat.S_IFCHR: 'a device',
}


@dataclass
class ImageListing:
    """The images of a folder.

    Attributes:
        folder: The folder.
        paths: Image files, sorted. Each begins with the folder as it was given.
        skipped: What is not taken, by the reason: paths relative to the folder.
    """

    folder: str
    paths: list[str] = field(default_factory=list)
    skipped: dict[str, list[str]] = field(default_factory=dict)

    def skip(self, reason: str, path: str) -> None:
        """Note something that is not taken.

        Args:
            reason: Why.
            path: What.
        """
        self.skipped.setdefault(reason, []).append(os.path.relpath(path, self.folder))

    def summary(self) -> list[str]:
        """Say what is not taken: a line for each reason, with a count and the first names."""
        return [
            f'{self.folder}: not taken: {len(names)} {reason}: {first_names(sorted(names))}'
            for reason, names in sorted(self.skipped.items())
        ]


def first_names(names: Sequence[str], count: int = NAMED) -> str:
    """List the first of some names.

    Args:
        names: The names.
        count: How many are given.

    Returns:
        The names, with ``...`` if there are more.

    Example:
        >>> first_names(['a', 'b', 'c'], 2)
        'a, b, ...'
    """
    return ', '.join([*names[:count], *(['...'] if len(names) > count else [])])


def why_not_regular(path: str | Path) -> str | None:
    """Say why a path is no file that can be read; links are followed, and nothing is opened.

    Args:
        path: Any path.

    Returns:
        Such as ``'a named pipe'`` or ``'a link that leads nowhere'``; None for a regular file.
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:  # a zero byte in a name is a ValueError
        if os.path.islink(path):
            return 'a link that leads nowhere'
        if isinstance(error, (FileNotFoundError, NotADirectoryError)):
            return 'missing'
        return f'not readable: {getattr(error, "strerror", error)}'
    if stat.S_ISREG(mode):
        return None
    return _KINDS.get(stat.S_IFMT(mode), 'no regular file')


def list_images(folder: str | Path, below: bool = False) -> ImageListing:
    """List the images of a folder.

    This function decides for data sets and commands alike. An image is a regular file, or a link to
    one, whose name ends in one of ``IMAGE_EXTENSIONS`` in any case and does not begin with a dot.
    Nothing is opened. The record of ``fusionreid render`` is passed over without a word.

    With ``below``, sub-folders are read too, but for hidden ones. A link to a folder is followed
    after all real folders have been read. Each folder is read once, whatever number of links lead
    to it, and a link to a folder that holds ``folder`` is not followed.

    Args:
        folder: The folder.
        below: Whether the folders below it count too.

    Returns:
        The images, and what is not taken.

    Raises:
        DatasetNotFoundError: If the folder is missing or cannot be read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as name:
        ...     for file in ('b.JPG', 'a.png', 'c.gif'):
        ...         (Path(name) / file).touch()
        ...     listing = list_images(name)
        >>> [Path(path).name for path in listing.paths]
        ['a.png', 'b.JPG']
        >>> listing.skipped
        {'images of a format that is not read (.gif)': ['c.gif']}
    """
    listing = ImageListing(os.fspath(folder))
    try:
        read = {_identity(listing.folder)}
        entries = _entries(listing.folder)
    except OSError as error:
        raise DatasetNotFoundError(
            f"the folder '{folder}' cannot be read: {error.strerror}"
        ) from error
    links: list[str] = []
    folders = _sort(entries, listing, below, links)
    root = os.path.realpath(listing.folder)
    while folders or links:
        # Real folders first, so that what a link leads to has its own name where it has one.
        path = folders.pop() if folders else links.pop(0)
        if os.path.islink(path) and _holds(os.path.realpath(path), root):
            listing.skip('links to a folder that holds them', path)
            continue
        try:
            if (identity := _identity(path)) in read:
                listing.skip('ways to a folder that is read already', path)
                continue
            read.add(identity)
            entries = _entries(path)
        except OSError:
            listing.skip('folders that cannot be read', path)
            continue
        folders += _sort(entries, listing, below, links)
    listing.paths.sort()
    return listing


def _holds(folder: str, path: str) -> bool:
    return os.path.commonpath([folder, path]) == folder


def _identity(folder: str) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _entries(folder: str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _sort(
    entries: list[os.DirEntry[str]], listing: ImageListing, below: bool, links: list[str]
) -> list[str]:
    """Sort the entries of a folder into images and what is not taken.

    Args:
        entries: The entries.
        listing: Where images and the others are noted.
        below: Whether folders are to be read.
        links: Where links to folders are noted if they are.

    Returns:
        The real folders to read, the last one first.
    """
    folders: list[str] = []
    for entry in entries:
        path, extension = entry.path, os.path.splitext(entry.name)[1].lower()
        # The folder's own word spares a look at each file.
        is_plain = entry.is_file(follow_symlinks=False)
        problem = None if is_plain else why_not_regular(path)
        if entry.name.startswith('.'):
            listing.skip('hidden files and folders', path)
        elif problem == FOLDER and not below:
            listing.skip('sub-folders', path)
        elif problem == FOLDER:
            (links if entry.is_symlink() else folders).append(path)
        elif problem is not None:
            listing.skip(f'entries that are no regular file ({problem})', path)
        elif extension in IMAGE_EXTENSIONS:
            listing.paths.append(path)
        elif extension in OTHER_IMAGE_EXTENSIONS:
            listing.skip(f'images of a format that is not read ({extension})', path)
        elif entry.name != RECORD:
            listing.skip('files that are no images', path)
    return folders[::-1]
