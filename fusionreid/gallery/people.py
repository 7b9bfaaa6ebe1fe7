"""People found among the images of a gallery, and the folder that tells about them."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fusionreid.datasets.moments import read_moment
from fusionreid.errors import GalleryError
from fusionreid.evaluation.grouping import Grouping, GroupingScores, group_features, score_groups
from fusionreid.utils.csv_table import write_csv
from fusionreid.utils.files import write_durably
from fusionreid.utils.integers import UNKNOWN
from fusionreid.visualization.contact_sheet import draw_contact_sheet
from fusionreid.visualization.person_sheet import PersonPhoto, draw_person_sheet
from fusionreid.visualization.saving import save_picture
from fusionreid.visualization.style import camera_order

from .gallery import Gallery
from .image_folder import read_name
from .items import Items
from .names import Label

FORMAT = 'fusionreid-people-1'
PHOTOS_FILE, PEOPLE_FILE, OVERVIEW_FILE = 'photos.csv', 'people.json', 'overview.png'
SHEETS_FOLDER, LINKS_FOLDER = 'sheets', 'photos'
COLUMNS = ('photo', 'person', 'distance', 'camera_id', 'time')
OVERVIEW_PEOPLE = 20
# Identities that the head of a sheet names.
NAMED = 3


@dataclass(frozen=True)
class People:
    """People found among the N images of a gallery.

    Attributes:
        items: The images.
        times: When each was taken, of length N; ``''`` where unknown.
        grouping: Who is in them.
        label: What the features are.
        method: How they were grouped.
        camera_names: Names of cameras by number.
        person_names: Names of known identities by number.
    """

    items: Items
    times: list[str]
    grouping: Grouping
    label: str
    method: str
    camera_names: Mapping[int, str] = field(default_factory=dict)
    person_names: Mapping[int, str] = field(default_factory=dict)

    @property
    def cameras(self) -> list[Label]:
        """The camera of each image: its name, or its 0-based number, -1 where unknown."""
        return [self.camera_names.get(camera, camera) for camera in self.items.camera_ids]

    def members(self) -> Iterator[np.ndarray]:
        """The rows of each person's images, person by person."""
        people = self.grouping.people
        order = np.argsort(people, kind='stable')
        starts = np.searchsorted(people[order], np.arange(self.grouping.num_people + 1))
        for first, last in zip(starts[:-1], starts[1:], strict=True):
            yield order[first:last]

    @cached_property
    def identities(self) -> np.ndarray:
        """Who each image is known to show, (N,) int64, -1 where unknown.

        In a file name of Market-1501, the identity 0 stands for anybody else; it is none.
        """
        people = np.array(self.items.person_ids, dtype=np.int64)
        zero = np.flatnonzero(people == 0).tolist()
        people[[row for row in zero if read_name(self.items.paths[row])[0] == 0]] = -1
        return people

    @cached_property
    def scores(self) -> GroupingScores | None:
        """How well they agree with the identities; None where none is known."""
        known = bool((self.identities >= 0).any())
        return score_groups(self.grouping.people, self.identities) if known else None

    def torn(self) -> tuple[int, str, str] | None:
        """Find images of one known identity that cannot show one person by their moments.

        Returns:
            How many, and two of them; None if there are none.
        """
        seen: dict[tuple[int, int, str], str] = {}
        count, example = 0, ('', '')
        columns = (self.identities.tolist(), self.items.camera_ids, self.times, self.items.ids)
        for person, camera, time, name in zip(*columns, strict=True):
            if person >= 0 and camera >= 0 and time:
                first = seen.setdefault((person, camera, time), name)
                if first != name:
                    count, example = count + 1, example if count else (first, name)
        return (count, *example) if count else None


def find_people(
    gallery: Gallery,
    *,
    times: Mapping[str, str] | None = None,
    use_names: bool = True,
    **options: Any,
) -> People:
    """Group the images of a gallery by person.

    Two images that one camera took at the same time show two people.

    Args:
        gallery: The gallery.
        times: When images were taken, by id, in any form; it counts where the camera is known.
        use_names: Whether camera and frame are read from names such as
            ``0002_c1s1_000451_03.jpg``, where ``times`` does not tell.
        **options: As for :func:`~fusionreid.evaluation.grouping.group_features`.

    Returns:
        The people.

    Raises:
        GalleryError: If the gallery is empty.
        ScoringError: As :func:`~fusionreid.evaluation.grouping.group_features`.

    Example:
        >>> gallery = Gallery()
        >>> features = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])
        >>> gallery.add(features=features, ids=['a', 'b', 'c']).added
        3
        >>> find_people(gallery, max_distance=0.3).grouping.people.tolist()
        [0, 0, -1]
    """
    if gallery.spec is None or not len(gallery):
        raise GalleryError('the gallery is empty: add images first')
    ids: list[str] = []
    paths: list[str] = []
    people: list[int] = []
    cameras: list[int] = []
    rows: list[Tensor] = []
    for block, part in gallery.engine.blocks():
        ids += block.ids
        paths += block.paths
        people += block.person_ids
        cameras += block.camera_ids
        rows.append(part.cpu())
    features = torch.cat(rows)
    moments: list[tuple[object, str] | None] = []
    shown: list[str] = []
    for item_id, path, camera in zip(ids, paths, cameras, strict=True):
        named = read_moment(path) if use_names else None
        if time := (times or {}).get(item_id, ''):
            moments.append((camera, time) if camera >= 0 else None)
        else:
            moments.append(named)
        shown.append(time or (named[1] if named else ''))
    grouping = group_features(features, moments=moments, **options)
    items = Items(ids, paths, people, cameras)
    return People(
        items,
        shown,
        grouping,
        gallery.spec.label,
        options.get('method', 'average'),
        gallery.camera_names,
        gallery.person_names,
    )


@contextmanager
def new_folder(folder: str | Path) -> Iterator[Path]:
    """Make a folder that appears whole or not at all.

    Args:
        folder: The folder; it must be missing or empty.

    Yields:
        The folder to write to, beside it.

    Raises:
        GalleryError: If it holds something, or cannot be written.
    """
    folder = Path(os.path.abspath(folder))
    check_new(folder)
    partial = folder.with_name(f'{folder.name}.{os.getpid()}.part')
    try:
        partial.mkdir()
        yield partial
        check_new(folder)
        os.replace(partial, folder)
    except OSError as error:
        raise GalleryError(f'{folder} cannot be written: {error}') from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def check_new(folder: str | Path) -> None:
    """Check that a folder is missing or empty, and make the one that it is to be in.

    Args:
        folder: The folder.

    Raises:
        GalleryError: If it holds something, or cannot be made.
    """
    folder = Path(os.path.abspath(folder))
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise GalleryError(f'{folder} is no folder: name one that does not exist yet')
    if folder.is_dir() and (found := sorted(os.listdir(folder))):
        raise GalleryError(
            f'{folder} is not empty (it holds {found[0]}): name a folder that does not exist yet'
        )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent):
            pass
    except OSError as error:
        raise GalleryError(f'{folder} cannot be written: {error}') from error


def save_people(
    people: People, folder: str | Path, *, sheets: int = 50, links: bool = False
) -> None:
    """Write who is in which image, and draw a contact sheet for each person.

    Args:
        people: The people.
        folder: Where to; it must be missing or empty, and appears whole or not at all.
        sheets: Contact sheets, of the people with the most images; 0 for none.
        links: Whether each person gets a folder of links to the images.

    Raises:
        GalleryError: If the folder holds something, or cannot be written.
    """
    with new_folder(folder) as partial:
        _write_photos(people, partial / PHOTOS_FILE)
        summary = json.dumps(describe_people(people), indent=2, allow_nan=False)
        write_durably(partial / PEOPLE_FILE, f'{summary}\n'.encode())
        has_files = any(people.items.paths)
        if has_files and sheets and people.grouping.num_people:
            _draw_overview(people, partial / OVERVIEW_FILE)
            for number, rows in enumerate(people.members()):
                if number == sheets:
                    break
                sheet = draw_person_sheet(*_sheet_arguments(people, number, rows))
                save_picture(sheet, partial / SHEETS_FOLDER / f'person-{number + 1:04d}.png')
        for number, rows in enumerate(people.members() if links and has_files else ()):
            own = partial / LINKS_FOLDER / f'person-{number + 1:04d}'
            own.mkdir(parents=True)
            for place, row in enumerate(rows.tolist(), 1):
                if path := people.items.paths[row]:
                    (own / f'{place:04d}_{Path(path).name}').symlink_to(os.path.abspath(path))


def describe_people(people: People) -> dict[str, Any]:
    """Sum up what was found, as JSON can hold it.

    Args:
        people: The people.

    Returns:
        How they were found, scores where identities are known, and of each person the number of
        images, the cameras (0-based or by name), the spread and the image nearest to the center.
    """
    grouping, items = people.grouping, people.items
    seen_by = people.cameras
    scores = people.scores
    limit = grouping.max_distance
    found = []
    for number, rows in enumerate(people.members(), 1):
        distances = grouping.distances[rows]
        cameras = {seen_by[row] for row in rows.tolist()} - {UNKNOWN}
        found.append(
            dict(
                person=number,
                photos=len(rows),
                cameras=sorted(cameras, key=camera_order),
                mean_distance=round(float(distances.mean()), 6),
                largest_distance=round(float(distances.max()), 6),
                typical_photo=_as_text(items.ids[int(rows[distances.argmin()])]),
            )
        )
    return dict(
        format=FORMAT,
        features=people.label,
        method=people.method,
        max_distance=limit if np.isfinite(limit) else None,
        photos=len(items),
        unsure=int((grouping.people < 0).sum()),
        sharing_camera_and_time=grouping.num_shared,
        scores=asdict(scores) if scores else None,
        people=found,
    )


def _as_text(name: str) -> str:
    """A name as JSON can hold it; bytes that are no UTF-8 are escaped."""
    return name.encode('utf-8', 'surrogateescape').decode('utf-8', 'backslashreplace')


def _write_photos(people: People, path: Path) -> None:
    items, grouping = people.items, people.grouping
    persons, distances = grouping.people.tolist(), grouping.distances.tolist()
    columns = (items.ids, persons, distances, people.cameras, people.times)
    rows: list[tuple[object, ...]] = [COLUMNS]
    for name, person, distance, camera, time in zip(*columns, strict=True):
        who = (person + 1, f'{distance:.6f}') if person >= 0 else ('', '')
        rows.append((name, *who, camera, time))
    write_durably(path, write_csv(rows))


def _draw_overview(people: People, path: Path) -> None:
    """The people whom most cameras see, by their most typical images."""
    items, distances = people.items, people.grouping.distances
    seen_by = people.cameras
    chosen: list[tuple[str, int, Label]] = []
    for number, rows in enumerate(people.members()):
        nearest = rows[np.argsort(distances[rows], kind='stable')].tolist()
        chosen += [(items.paths[row], number + 1, seen_by[row]) for row in nearest]
    several = len({camera for _, _, camera in chosen}) > 1
    found = people.grouping.num_people
    picture = draw_contact_sheet(
        chosen,
        num_people=OVERVIEW_PEOPLE,
        images_per_camera=2 if several else 8,
        title=f'{found} {"person" if found == 1 else "people"} in {len(items):,} photos',
        row_name='person',
    )
    save_picture(picture, path)


def _sheet_arguments(
    people: People, number: int, rows: np.ndarray
) -> tuple[list[PersonPhoto], str, str]:
    items, distances, seen_by = people.items, people.grouping.distances, people.cameras
    photos = [
        PersonPhoto(
            items.paths[row],
            seen_by[row],
            float(distances[row]),
            people.times[row],
            int(people.identities[row]),
            people.person_names.get(items.person_ids[row], ''),
        )
        for row in rows.tolist()
    ]
    cameras = len({photo.camera_id for photo in photos} - {UNKNOWN})
    seen = f' by {cameras} camera{"s" if cameras != 1 else ""}' if cameras else ''
    subtitle = (
        f'{len(photos)} photos{seen}; distance to their center {distances[rows].mean():.3f} on '
        f'average, {distances[rows].max():.3f} at most; on the left the nearest to it'
    )
    known = Counter(photo.person_id for photo in photos if photo.person_id >= 0).most_common(NAMED)
    if known:
        names = ((people.person_names.get(who, who), count) for who, count in known)
        subtitle += f'; identities {", ".join(f"{who} ({count})" for who, count in names)}'
    return photos, f'Person {number + 1}', subtitle
