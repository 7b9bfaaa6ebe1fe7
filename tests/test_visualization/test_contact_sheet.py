"""Contact sheets show people as the cameras see them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from image_trees import write_image
from PIL import ImageDraw

from fusionreid.errors import DatasetError, DatasetNotFoundError
from fusionreid.visualization import contact_sheet, draw_contact_sheet, tiles
from fusionreid.visualization.contact_sheet import find_example_images
from fusionreid.visualization.tiles import MAT_COLOR


@pytest.fixture
def said(monkeypatch) -> list[str]:
    """Collect what is logged while something is drawn."""
    lines: list[str] = []
    monkeypatch.setattr(tiles, 'print_log', lambda text, **_: lines.append(text))
    monkeypatch.setattr(contact_sheet, 'print_log', lambda text, **_: lines.append(text))
    return lines


# Person, camera (from 1): all see person 1, two see person 2, one sees person 3.
SEEN = [(1, 1), (1, 2), (1, 3), (2, 1), (2, 3), (3, 2)]


@pytest.fixture
def market(tmp_path: Path) -> Path:
    """A data set named as Market-1501, with a distractor and a bad detection."""
    root = tmp_path / 'market'
    root.mkdir()
    for number, (person, camera) in enumerate([*SEEN, (0, 1), (-1, 1)]):
        name = '-1' if person < 0 else f'{person:04}'
        write_image(root / f'{name}_c{camera}s1_{number:06}_00.png', number, (128, 64))
    (root / 'Thumbs.db').write_bytes(b'no image')
    return root


def test_images_are_found_by_their_names(market):
    found = find_example_images(market)
    assert [(person, camera + 1) for _, person, camera in found] == SEEN
    assert [path for path, _, _ in found] == sorted(path for path, _, _ in found)


def test_identities_of_msmt17_start_from_0(tmp_path):
    write_image(tmp_path / '0000_002_07_0303morning_0016_1.png', 1, (64, 32))
    assert [image[1:] for image in find_example_images(tmp_path)] == [(0, 6)]


def test_a_row_for_each_person_and_a_column_for_each_camera(market):
    sheet = draw_contact_sheet(market, image_height=256)
    fewer = draw_contact_sheet(market, num_people=2, image_height=256)
    assert sheet.width == fewer.width
    assert sheet.height - fewer.height == 256 + 4
    images = find_example_images(market)
    one_camera = [image for image in images if image[2] == 0]
    assert draw_contact_sheet(one_camera, image_height=256).width < sheet.width
    several = draw_contact_sheet(market, images_per_camera=2, image_height=256)
    assert several.width > sheet.width


def test_people_seen_by_most_cameras_come_first_and_gaps_stay_gray(market):
    images = find_example_images(market)
    only_first = draw_contact_sheet(images, num_people=1, image_height=64)
    assert sum(pixel == MAT_COLOR for pixel in only_first.getdata()) < 100
    sheet = draw_contact_sheet(images, image_height=64)
    gray = sum(pixel == MAT_COLOR for pixel in sheet.getdata())
    # Person 2 lacks one camera, person 3 two; an image is 32 x 64 pixels.
    assert gray == pytest.approx(3 * 32 * 64, rel=0.02)


@pytest.fixture
def written(monkeypatch) -> dict[str, tuple[int, int]]:
    """Collect what is written on a picture, with its upper left corner or its middle."""
    found: dict[str, tuple[int, int]] = {}
    text = ImageDraw.ImageDraw.text

    def write(self, place, shown, *args, **options):
        left, top, right, bottom = self.textbbox(
            place, shown, font=options['font'], anchor=options.get('anchor')
        )
        assert left >= 0
        assert top >= 0
        assert right <= self.im.size[0], f'{shown} is cut off'
        assert bottom <= self.im.size[1], f'{shown} is cut off'
        found[shown] = place
        return text(self, place, shown, *args, **options)

    monkeypatch.setattr(ImageDraw.ImageDraw, 'text', write)
    return found


def test_a_sheet_says_what_it_shows(market, written):
    draw_contact_sheet(market, num_people=2, image_height=256, title='Market')
    shown = list(written)
    assert shown[0] == 'Market'
    assert 'rows: 2 of 3 people, by id; columns: the cameras that see them' in ' '.join(shown)
    assert [text for text in shown if text.startswith('id ')] == ['id 1', 'id 2']
    assert [text for text in shown if text.startswith('camera ')] == [
        f'camera {number}' for number in (1, 2, 3)
    ]


def test_a_long_title_is_wrapped_on_a_narrow_sheet(market, written):
    one = [find_example_images(market)[0]]
    short = draw_contact_sheet(one, image_height=64)
    long = draw_contact_sheet(one, image_height=64, title='many words ' * 12)
    assert long.width == short.width
    assert long.height > short.height + 2 * 30


def test_bad_input_is_refused(tmp_path):
    with pytest.raises(DatasetNotFoundError, match='no folder'):
        draw_contact_sheet(tmp_path / 'missing')
    with pytest.raises(DatasetNotFoundError, match='no image named'):
        draw_contact_sheet(tmp_path)
    with pytest.raises(ValueError, match='at least one image'):
        draw_contact_sheet([])
    for name in ('num_people', 'images_per_camera', 'image_height'):
        with pytest.raises(ValueError, match=f'{name} must be at least 1'):
            draw_contact_sheet([('a.jpg', 1, 0)], **{name: 0})
    broken = tmp_path / '0001_c1s1_000001_00.jpg'
    broken.write_bytes(b'not an image')
    with pytest.raises(DatasetError, match='none of the images'):
        draw_contact_sheet(tmp_path)


def test_an_image_that_cannot_be_read_is_marked_and_said(market, said):
    whole = draw_contact_sheet(market, image_height=64)
    broken = next(market.glob('0001_c2*'))
    broken.write_bytes(b'not an image')
    sheet = draw_contact_sheet(market, image_height=64)
    assert sheet.size == whole.size
    gray = [sum(pixel == MAT_COLOR for pixel in each.getdata()) for each in (whole, sheet)]
    assert gray[1] - gray[0] > 0.6 * 32 * 64
    assert f"drawn as unreadable: image '{broken}'" in '\n'.join(said)


def test_entries_that_are_no_files_are_said_and_not_opened(market, said):
    os.mkfifo(market / '0004_c1s1_000001_00.jpg')
    assert len(find_example_images(market)) == len(SEEN)
    assert '(a named pipe): 0004_c1s1_000001_00.jpg' in '\n'.join(said)
