"""Images with who is in them and which camera saw them: from a folder, or from a table."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fusionreid.datasets.people_table import read_people_table
from fusionreid.errors import GalleryError
from fusionreid.utils.integers import UNKNOWN
from fusionreid.utils.names import is_number

from .image_folder import find_image_files, read_name
from .metadata import Metadata
from .names import Label, clean_name
from .table_metadata import read_columns

TABLE = '.csv'


@dataclass(frozen=True)
class LabelledImages:
    """N images, in the order in which they are taken.

    Attributes:
        paths: Absolute paths.
        people: Identities, numbers or names, -1 where unknown.
        cameras: Cameras, 0-based numbers or names, -1 where unknown.
        from_names: Whether identities and cameras are read from the names of the files.
        notes: What is not taken, and what may be unexpected, in a line each.
        metadata: What else a table says of them; empty without one.
    """

    paths: list[str]
    people: list[Label]
    cameras: list[Label]
    from_names: bool
    notes: list[str] = field(default_factory=list)
    metadata: list[Metadata] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, rows: Sequence[int]) -> LabelledImages:
        """Some of the images, in the order of ``rows``, without the notes."""
        return LabelledImages(
            [self.paths[row] for row in rows],
            [self.people[row] for row in rows],
            [self.cameras[row] for row in rows],
            self.from_names,
            metadata=[self.metadata[row] for row in rows] if self.metadata else [],
        )


def read_images(
    source: str | Path, cameras_from_folders: bool = False, roles: Sequence[str] | None = None
) -> LabelledImages:
    """Read which images there are, who is in them, and which camera saw them.

    Args:
        source: A folder; a table with the columns ``path,person_id,camera_id,role``, see
            :class:`~fusionreid.datasets.CsvDataset`, whose paths are relative to its folder, and
            whose further columns are metadata; or one image.
        cameras_from_folders: Whether the camera of an image is named by the folder that it lies
            in, as in ``north door/0001.jpg``, and not by its own name. A table says it itself.
        roles: Roles of a table that are taken; None for all.

    Returns:
        The images, those of a folder sorted.

    Raises:
        GalleryError: If there is no image, or a folder cannot name a camera.
        DatasetError: If the table is none.
    """
    if is_table(source):
        return _read_table(str(source), roles)
    if not os.path.lexists(source):
        raise GalleryError(
            f'{str(source)!r} does not exist: there is no folder, table or image of this name'
        )
    if Path(source).is_dir():
        listing = find_image_files(source)
        paths, notes = listing.paths, listing.summary()
    else:
        paths, notes = [os.path.abspath(source)], []
    labels = [read_name(path) for path in paths]
    people: list[Label] = [person for person, _ in labels]
    cameras: list[Label] = [camera for _, camera in labels]
    if cameras_from_folders:
        named = {folder: camera_of_folder(folder) for folder in dict.fromkeys(map(_folder, paths))}
        cameras = [named[_folder(path)] for path in paths]
        notes += _one_name_of_several(named)
    return LabelledImages(paths, people, cameras, not cameras_from_folders, notes)


def is_table(source: str | Path) -> bool:
    """Whether :func:`read_images` takes something for a table."""
    return Path(source).suffix.lower() == TABLE and not Path(source).is_dir()


def camera_of_folder(folder: str) -> Label:
    """The camera that a folder names: its number from 0, if its name is a number from 1.

    Args:
        folder: Absolute path.

    Returns:
        The name or the 0-based number.

    Raises:
        GalleryError: If the folder's name cannot be one of a camera.

    Example:
        >>> camera_of_folder('/photos/north door'), camera_of_folder('/photos/2')
        ('north door', 1)
    """
    name = os.path.basename(folder)
    if is_number(name):
        if not name.isdecimal() or int(name) < 1:
            raise GalleryError(
                f'the folder {folder!r} names no camera, as they are counted from 1: rename it, '
                f'for example to {"camera " + name!r}'
            )
        return int(name) - 1
    return clean_name(name)


def _folder(path: str) -> str:
    return os.path.dirname(path)


def _one_name_of_several(named: dict[str, Label]) -> list[str]:
    """Say which folders are one camera because they have one name."""
    folders: dict[Label, list[str]] = defaultdict(list)
    for folder, camera in named.items():
        folders[camera].append(folder)
    return [
        f'{len(same)} folders are one camera, {os.path.basename(same[0])}: {", ".join(same[:3])}'
        + (', ...' if len(same) > 3 else '')
        for same in folders.values()
        if len(same) > 1
    ]


def _read_table(path: str, roles: Sequence[str] | None) -> LabelledImages:
    table = read_people_table(path, os.path.dirname(os.path.abspath(path)))
    rows = [row for row in table.rows if roles is None or row.role in roles]
    if not rows:
        raise GalleryError(f'{path} has no rows of the role {", ".join(roles or ())}')
    metadata, notes = read_columns(rows, path)
    return LabelledImages(
        [row.img_path for row in rows],
        _labels((row.person for row in rows), table.person_numbers, bool(table.person_names)),
        _labels((row.camera for row in rows), table.camera_numbers, bool(table.camera_names)),
        from_names=False,
        notes=notes,
        metadata=metadata,
    )


def _labels(cells: Iterable[str], numbers: dict[str, int], are_names: bool) -> list[Label]:
    """What the cells of a column say.

    Args:
        cells: The cells.
        numbers: Their numbers.
        are_names: Whether the table names what it numbers.
    """
    if not are_names:
        return [numbers[cell] for cell in cells]
    labels = {
        # A number among names is a name of that number.
        cell: number if number == UNKNOWN else int(cell) if cell.isdecimal() else cell
        for cell, number in numbers.items()
    }
    return [labels[cell] for cell in cells]
