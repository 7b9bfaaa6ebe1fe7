"""The contact sheet of a person: the typical photo, then all by camera and time."""

from __future__ import annotations

import numpy as np
import pytest
from image_trees import write_image

from fusionreid.visualization import person_sheet
from fusionreid.visualization.person_sheet import PersonPhoto, draw_person_sheet
from fusionreid.visualization.style import QUERY_COLOR, RIGHT_COLOR, UNKNOWN_COLOR, WRONG_COLOR
from fusionreid.visualization.tiles import HEADER_HEIGHT, MARGIN, ROW_HEIGHT, answer_left


@pytest.fixture
def drawn(monkeypatch) -> list[tuple[str, tuple[int, int]]]:
    """Collect names and places of the photos that are drawn."""
    photos: list[tuple[str, tuple[int, int]]] = []
    draw = person_sheet.draw_tile

    def note(canvas, path, corner, color):
        photos.append((path.name, corner))
        draw(canvas, path, corner, color)

    monkeypatch.setattr(person_sheet, 'draw_tile', note)
    return photos


def make(folder, count, **columns):
    photos = []
    for number in range(count):
        write_image(path := folder / f'{number}.png', number, (32, 16))
        own = {name: values[number] for name, values in columns.items()}
        photos.append(PersonPhoto(path, **{'camera_id': 0, 'distance': number / 10, **own}))
    return photos


def test_photos_stand_by_camera_and_time_after_the_typical_one(tmp_path, drawn):
    photos = make(
        tmp_path,
        4,
        camera_id=[2, 0, 0, -1],
        time=['1', '9', '5', ''],
        distance=[0.3, 0.1, 0.2, 0.4],
        person_id=[7, 7, 8, -1],
    )
    sheet = np.array(draw_person_sheet(photos, 'Person 1', '4 photos'))
    assert [name for name, _ in drawn] == ['1.png', '3.png', '2.png', '1.png', '0.png']
    assert drawn[0][1] == (MARGIN, HEADER_HEIGHT)
    assert [corner for _, corner in drawn[1:]] == [
        (answer_left(column), HEADER_HEIGHT) for column in range(4)
    ]
    colors = [tuple(sheet[top, left]) for _, (left, top) in drawn]
    assert colors == [QUERY_COLOR, UNKNOWN_COLOR, WRONG_COLOR, RIGHT_COLOR, RIGHT_COLOR]


def test_many_photos_are_spread_and_wrapped(tmp_path, drawn, monkeypatch):
    monkeypatch.setattr(person_sheet, 'MAX_PHOTOS', 10)
    photos = make(tmp_path, 40, time=[f'{number:03}' for number in range(40)])
    sheet = draw_person_sheet(photos, 'Person 1', '40 photos')
    assert [name for name, _ in drawn[1:]] == [f'{number}.png' for number in range(0, 40, 4)]
    assert drawn[9][1] == (answer_left(0), HEADER_HEIGHT + ROW_HEIGHT)
    assert sheet.height > HEADER_HEIGHT + 2 * ROW_HEIGHT - MARGIN
