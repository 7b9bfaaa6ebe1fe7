"""A contact sheet of one person: the most typical photo, and all photos by camera and time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from .style import QUERY_COLOR, RIGHT_COLOR, UNKNOWN_COLOR, WRONG_COLOR, camera_order
from .tiles import (
    GAP,
    HEADER_HEIGHT,
    MARGIN,
    ROW_HEIGHT,
    answer_left,
    draw_caption,
    draw_tile,
    draw_verdict,
    new_canvas,
)

COLUMNS = 8
MAX_PHOTOS = 64


@dataclass(frozen=True)
class PersonPhoto:
    """A photo of a person.

    Args:
        path: The image file.
        camera_id: 0-based camera, -1 where unknown, or its name.
        distance: How far it is from the center of the person's photos.
        time: When it was taken, ``''`` where unknown.
        person_id: Who it is known to show, -1 where unknown.
        person_name: The name of that person, ``''`` where there is none.
    """

    path: str | Path
    camera_id: int | str
    distance: float
    time: str = ''
    person_id: int = -1
    person_name: str = ''


def draw_person_sheet(photos: Sequence[PersonPhoto], title: str, subtitle: str) -> Image.Image:
    """Draw the photos that were taken for one person.

    On the left stands, in a blue frame, the photo that is nearest to their center. The others
    follow by camera, time and name, each with its distance to the center. Where identities are
    known, photos of the one that most of them show have a green frame, those of others a red one
    and a cross. Of more than 64 photos some are drawn, evenly spread.

    Args:
        photos: The photos, at least one.
        title: First line.
        subtitle: Second line.

    Returns:
        The sheet, an RGB image.
    """
    typical = min(photos, key=lambda photo: photo.distance)
    known = [photo.person_id for photo in photos if photo.person_id >= 0]
    person = max(sorted(set(known)), key=known.count, default=-1)
    ordered = sorted(
        photos, key=lambda each: (camera_order(each.camera_id), each.time, str(each.path))
    )
    count = min(len(ordered), MAX_PHOTOS)
    shown = [ordered[number * len(ordered) // count] for number in range(count)]
    if count < len(ordered):
        subtitle += f'; {count} of them are shown'
    columns = min(COLUMNS, count)
    rows = -(-count // columns)
    height = HEADER_HEIGHT + rows * ROW_HEIGHT - GAP + MARGIN
    canvas = new_canvas(columns, title, subtitle, height=height)
    _draw_photo(canvas, (MARGIN, HEADER_HEIGHT), typical, QUERY_COLOR)
    for number, photo in enumerate(shown):
        row, column = divmod(number, columns)
        corner = answer_left(column), HEADER_HEIGHT + row * ROW_HEIGHT
        right = photo.person_id == person
        color = RIGHT_COLOR if right else WRONG_COLOR
        _draw_photo(canvas, corner, photo, UNKNOWN_COLOR if photo.person_id < 0 else color)
        if photo.person_id >= 0 and not right:
            draw_verdict(canvas, corner, right=False)
    return canvas


def _draw_photo(
    canvas: Image.Image, corner: tuple[int, int], photo: PersonPhoto, color: tuple[int, int, int]
) -> None:
    draw_tile(canvas, photo.path, corner, color)
    draw_caption(
        canvas,
        corner,
        photo.camera_id,
        photo.person_name or photo.person_id,
        value=f'{photo.distance:.3f}',
        note=photo.time if photo.person_id >= 0 else '',
        name=photo.time or Path(photo.path).name,
    )
