from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from image_trees import write_image
from PIL import ImageDraw

from fusionreid.visualization import tiles
from fusionreid.visualization.fonts import text_font
from fusionreid.visualization.search_results import QueryAnswers, draw_search_results
from fusionreid.visualization.style import (
    QUERY_COLOR,
    RIGHT_COLOR,
    UNKNOWN_COLOR,
    WRONG_COLOR,
)
from fusionreid.visualization.tiles import MAT_COLOR, SMALL_SIZE, TILE_WIDTH


@pytest.fixture
def said(monkeypatch) -> list[str]:
    """Collect what is logged while something is drawn."""
    lines: list[str] = []
    monkeypatch.setattr(tiles, 'print_log', lambda text, **_: lines.append(text))
    return lines


@pytest.fixture
def images(tmp_path) -> list[Path]:
    return [write_image(tmp_path / f'{number}.png', number, (64, 32)) for number in range(4)]


def answers(images: list[Path], person: int = 3) -> QueryAnswers:
    return QueryAnswers(
        path=images[0],
        person_id=person,
        camera_id=0,
        paths=images[1:],
        person_ids=[3, 4, -1],
        camera_ids=[0, 1, -1],
        distances=[0.2, 0.4, 0.8],
    )


def pixels(picture, color: tuple[int, int, int]) -> int:
    return int((np.array(picture) == color).all(axis=2).sum())


def test_frames_tell_right_wrong_and_unknown_apart(images):
    picture = draw_search_results([answers(images)], 'Title', 'subtitle')
    frame = 2 * 6 * (140 + 268 - 2 * 6)
    for color in (QUERY_COLOR, RIGHT_COLOR, WRONG_COLOR, UNKNOWN_COLOR):
        assert frame <= pixels(picture, color) < 2 * frame
    without = draw_search_results([answers(images, person=-1)], 'Title', 'subtitle')
    # The noise of an image may hit a color by chance.
    assert pixels(without, RIGHT_COLOR) < 100
    assert pixels(without, WRONG_COLOR) < 100
    assert pixels(without, UNKNOWN_COLOR) >= 3 * frame


def test_bars_are_as_long_as_the_distances(images):
    picture = np.array(draw_search_results([answers(images, person=-1)], 'Title', 'subtitle'))
    # The row of pixels at the bars' height holds nothing but bars and their background.
    rows = [
        row
        for row in picture
        if (row == MAT_COLOR).all(axis=1).any()
        and set(map(tuple, row[210:])) <= {UNKNOWN_COLOR, MAT_COLOR, (255, 255, 255)}
        and (row == UNKNOWN_COLOR).all(axis=1).sum() > 100
    ]
    assert rows
    # 1/4, 1/2 and the whole of a tile's 140 pixels.
    assert (rows[-1] == UNKNOWN_COLOR).all(axis=1).sum() == pytest.approx(140 * 1.75, abs=4)


def test_rows_without_answers_and_lost_images_are_drawn(images, said):
    nothing = QueryAnswers(images[0], -1, -1, [], [], [], [])
    picture = draw_search_results([answers(images), nothing], 'Title', 'subtitle')
    assert picture.height > 2 * 268
    images[2].unlink()
    assert pixels(draw_search_results([answers(images)], 'Title', 's'), MAT_COLOR) > 10_000
    images[0].unlink()
    picture = draw_search_results([answers(images)], 'Title', 'subtitle')
    assert pixels(picture, QUERY_COLOR) < 100
    assert f"image '{images[0]}' does not exist" in '\n'.join(said)
    with pytest.raises(ValueError, match='no query'):
        draw_search_results([], 'Title', 'subtitle')


def test_file_names_stand_where_no_identity_is_known(images, monkeypatch):
    shown = []
    text = ImageDraw.ImageDraw.text

    def write(self, place, text_, *args, font, **options):
        shown.append(text_)
        assert font.getlength(text_) < 400
        return text(self, place, text_, *args, font=font, **options)

    monkeypatch.setattr(ImageDraw.ImageDraw, 'text', write)
    long = images[1].rename(images[1].with_name('a_very_long_name_of_a_photo\n_0017.png'))
    found = answers(images, person=-1)
    found = replace(found, paths=[long, *images[2:]], person_ids=[-1, 4, -1])
    draw_search_results([found], 'Title', 'subtitle')
    assert [name for name in shown if name.endswith('.png') and '…' not in name] == [
        '0.png',
        '3.png',
    ]
    assert 'id 4' in shown
    assert 'id ?' not in shown
    (short,) = (name for name in shown if '…' in name)
    assert short.startswith('a_very')
    assert short.endswith('17.png')
    assert text_font(SMALL_SIZE).getlength(short) <= TILE_WIDTH
    # A known identity needs no name.
    shown.clear()
    draw_search_results([answers([images[0], long, *images[2:]])], 'Title', 'subtitle')
    assert 'id 3' in shown
    assert not any('…' in name for name in shown)
