"""A contact sheet: one row per person, one column per camera."""

from __future__ import annotations

import logging
import math
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from mmengine.logging import print_log
from PIL import Image, ImageDraw

from fusionreid.datasets.image_listing import list_images
from fusionreid.datasets.market_style_dataset import parse_market_name
from fusionreid.errors import DatasetFormatError, DatasetNotFoundError

from .fonts import text_font
from .style import FAINT_COLOR, TEXT_COLOR, camera_name, camera_order
from .tiles import BACKGROUND, MAT_COLOR, try_picture

# Identity, a number and the 1-based camera; MSMT17 itself reads the identity from its lists.
_MSMT17_NAME = re.compile(r'(\d+)_\d+_(\d+)_.*')
# Pixels.
_MARGIN, _EDGE, _LABEL_WIDTH, _LEAST_WIDTH = 4, 14, 62, 300
_TITLE_SIZE, _TEXT_SIZE, _LINE, _COLUMN_TITLE = 20, 12, 17, 22
_TITLE_LINE = 30


def find_example_images(root: str | Path) -> list[tuple[str, int, int]]:
    """List a folder's images by the identity and camera in their names.

    Args:
        root: Folder with images named as in Market-1501, DukeMTMC-reID or MSMT17, at any depth.

    Returns:
        Path, person id and 0-based camera id of each image, sorted by path. Other files, and the
        ids below 1 that Market-1501 gives to distractors and bad detections, are left out; MSMT17's
        person ids start from 0.

    Raises:
        DatasetNotFoundError: If there is no such folder, or no such image in it.
    """
    root = Path(root)
    if not root.is_dir():
        raise DatasetNotFoundError(f'no folder {root}')
    found = []
    listing = list_images(root, below=True)
    for line in listing.summary():
        print_log(line, logger='current', level=logging.WARNING)
    for path in map(Path, listing.paths):
        if match := _MSMT17_NAME.fullmatch(path.name):
            found.append((str(path), int(match[1]), int(match[2]) - 1))
            continue
        try:
            person, camera = parse_market_name(path.name)
        except DatasetFormatError:
            continue
        if person > 0 and camera >= 0:
            found.append((str(path), person, camera))
    if not found:
        raise DatasetNotFoundError(
            f'{root} holds no image named as in Market-1501 (0002_c1s1_000451_03.jpg), '
            'DukeMTMC-reID or MSMT17'
        )
    return found


def draw_contact_sheet(
    images: str | Path | Sequence[tuple[str, int, int | str]],
    num_people: int = 10,
    images_per_camera: int = 1,
    image_height: int = 160,
    title: str = 'Contact sheet',
    row_name: str = 'id',
) -> Image.Image:
    """Draw people (rows) as the cameras (columns) see them.

    Args:
        images: A data set's folder, or path, person id and camera (0-based or its name) of
            every image.
        num_people: Number of rows; people seen by the most cameras come first, ties by id.
        images_per_camera: Images of a person in each camera.
        image_height: Height of every image on the sheet, in pixels; its width follows.
        title: First line; below it stands what rows and columns are.
        row_name: What stands before the person id of a row.

    Returns:
        The sheet, an RGB image.

    Raises:
        ValueError: If there is no image, or a number is below 1.
        DatasetError: If the folder is missing, or no image can be read. A single image that
            cannot be read is marked as such and logged.
    """
    for name, value in (
        ('num_people', num_people),
        ('images_per_camera', images_per_camera),
        ('image_height', image_height),
    ):
        if value < 1:
            raise ValueError(f'{name} must be at least 1, got {value}')
    items = find_example_images(images) if isinstance(images, str | Path) else list(images)
    if not items:
        raise ValueError('a contact sheet needs at least one image, got an empty list')
    shown: dict[int, dict[int | str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for path, person, camera in items:
        if len(shown[person][camera]) < images_per_camera:
            shown[person][camera].append(path)
    people = sorted(shown, key=lambda person: (-len(shown[person]), person))[:num_people]
    people.sort()
    cameras = sorted({camera for person in people for camera in shown[person]}, key=camera_order)
    read = {
        path: try_picture(path, image_height)
        for person in people
        for paths in shown[person].values()
        for path in paths
    }
    pictures = {path: picture for path, picture in read.items() if picture is not None}
    if not pictures:
        raise DatasetNotFoundError('none of the images of the contact sheet can be read')
    cell = max(picture.width for picture in pictures.values()) + _MARGIN
    column, row = cell * images_per_camera + 2 * _MARGIN, image_height + _MARGIN
    total = len({person for _, person, _ in items})
    subtitle = (
        f'rows: {len(people)} of {total} people, by {row_name}; columns: the cameras that see them'
    )
    named = {person: f'{row_name} {person}' for person in people}
    widest = max(text_font(_TEXT_SIZE, text=name).getlength(name) for name in named.values())
    labels = max(_LABEL_WIDTH, math.ceil(widest) + 2 * _MARGIN)
    width = max(_LEAST_WIDTH, _EDGE + labels + column * len(cameras) + _EDGE)
    titles = _wrap(title, _TITLE_SIZE, width - 2 * _EDGE, bold=True)
    lines = _wrap(subtitle, _TEXT_SIZE, width - 2 * _EDGE)
    header = _EDGE + _TITLE_LINE * len(titles) + _LINE * len(lines) + _COLUMN_TITLE + _MARGIN
    sheet = Image.new('RGB', (width, header + row * len(people) + _EDGE), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    top = _EDGE
    for line in titles:
        font = text_font(_TITLE_SIZE, True, line)
        draw.text((_EDGE, top), line, font=font, fill=TEXT_COLOR)
        top += _TITLE_LINE
    for line in lines:
        font = text_font(_TEXT_SIZE, text=line)
        draw.text((_EDGE, top), line, font=font, fill=FAINT_COLOR)
        top += _LINE
    start = _EDGE + labels
    for place, camera in enumerate(cameras):
        corner = (start + place * column, header - _COLUMN_TITLE // 2)
        text = f'camera {camera_name(camera)}'
        font = text_font(_TEXT_SIZE, text=text)
        draw.text(corner, text, font=font, fill=TEXT_COLOR, anchor='lm')
    for number, person in enumerate(people):
        top = header + number * row
        middle = (_EDGE, top + image_height // 2)
        font = text_font(_TEXT_SIZE, text=named[person])
        draw.text(middle, named[person], font=font, fill=TEXT_COLOR, anchor='lm')
        for place, camera in enumerate(cameras):
            paths = shown[person].get(camera, [])
            for position in range(images_per_camera):
                left = start + place * column + position * cell
                if position < len(paths) and paths[position] in pictures:
                    sheet.paste(pictures[paths[position]], (left, top))
                else:
                    empty = (left, top, left + cell - _MARGIN - 1, top + image_height - 1)
                    draw.rectangle(empty, fill=MAT_COLOR)
                    if position < len(paths):
                        middle = ((empty[0] + empty[2]) // 2, (empty[1] + empty[3]) // 2)
                        draw.text(
                            middle,
                            'cannot\nbe read',
                            font=text_font(_TEXT_SIZE),
                            fill=TEXT_COLOR,
                            anchor='mm',
                            align='center',
                        )
    return sheet


def _wrap(text: str, size: int, width: int, bold: bool = False) -> list[str]:
    """Break a text into lines of at most ``width`` pixels, between words."""
    font = text_font(size, bold, text)
    lines = ['']
    for word in text.split():
        longer = f'{lines[-1]} {word}'.strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
