"""Pictures as tiles: framed images with a caption, and the grid of queries and answers."""

from __future__ import annotations

import logging
import math
from pathlib import Path

from mmengine.logging import print_log
from PIL import Image, ImageDraw, ImageFont

from fusionreid.datasets.transforms import read_image
from fusionreid.errors import ImageDecodeError
from fusionreid.utils.terminal import escape_controls

from .fonts import baseline, text_font
from .style import (
    FAINT_COLOR,
    RIGHT_COLOR,
    TEXT_COLOR,
    UNKNOWN_COLOR,
    WRONG_COLOR,
    Color,
    camera_name,
)

Point = tuple[int, int]

BACKGROUND: Color = (255, 255, 255)
LINE_COLOR: Color = (214, 214, 214)
MAT_COLOR: Color = (236, 236, 236)

# Sizes in pixels. An image of 128x64 is shown at exactly twice its size.
PICTURE_WIDTH, PICTURE_HEIGHT = 128, 256
FRAME = 6
TILE_WIDTH, TILE_HEIGHT = PICTURE_WIDTH + 2 * FRAME, PICTURE_HEIGHT + 2 * FRAME
CAPTION_HEIGHT = 52
GAP = 14
MARGIN = 36
HEADER_HEIGHT = 112
CAPTION_GAP = 8
QUERY_GAP = 44  # holds the line between the query and its answers
ROW_HEIGHT = TILE_HEIGHT + CAPTION_HEIGHT + GAP
BADGE = 30

TITLE_SIZE, SUBTITLE_SIZE, LABEL_SIZE, SMALL_SIZE = 28, 17, 15, 14


def load_picture(path: str | Path, height: int, width: int | None = None) -> Image.Image:
    """Read an image and scale it, at its own aspect ratio.

    Args:
        path: The image file.
        height: Height to scale to, in pixels; the largest one, if ``width`` is given.
        width: Largest width in pixels.

    Returns:
        The RGB image.

    Raises:
        ImageDecodeError: The file is missing, or no image.
    """
    picture = Image.fromarray(read_image(str(path)))
    scale = height / picture.height
    if width is not None:
        scale = min(scale, width / picture.width)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.LANCZOS)


def try_picture(path: str | Path, height: int, width: int | None = None) -> Image.Image | None:
    """Read an image and scale it as :func:`load_picture` does, or log why that cannot be.

    Args:
        path: The image file.
        height: Height to scale to, in pixels; the largest one, if ``width`` is given.
        width: Largest width in pixels.

    Returns:
        The RGB image; None if it is missing or cannot be decoded.
    """
    try:
        return load_picture(path, height, width)
    except ImageDecodeError as error:
        print_log(f'drawn as unreadable: {error}', logger='current', level=logging.WARNING)
        return None


def answer_left(rank: int) -> int:
    """Find the left edge of a column of answers.

    Args:
        rank: Column, from 0.

    Returns:
        Pixels from the left edge of the canvas.
    """
    return MARGIN + TILE_WIDTH + QUERY_GAP + rank * (TILE_WIDTH + GAP)


def new_canvas(
    columns: int, title: str, subtitle: str, *, height: int, beside_title: int = 0
) -> Image.Image:
    """Make an empty picture for a column of queries and some of answers, with its head.

    Args:
        columns: Columns of answers.
        title: First line.
        subtitle: Second line.
        height: Height of the picture in pixels.
        beside_title: Pixels to keep free on the right of the title.

    Returns:
        The picture, wide enough for columns and head.
    """
    title_font = text_font(TITLE_SIZE, True, title)
    subtitle_font = text_font(SUBTITLE_SIZE, text=subtitle)
    texts = max(title_font.getlength(title) + beside_title, subtitle_font.getlength(subtitle))
    width = max(answer_left(columns) - GAP, MARGIN + math.ceil(texts)) + MARGIN
    canvas = Image.new('RGB', (width, height), BACKGROUND)
    draw = ImageDraw.Draw(canvas)
    lines = (28 + baseline(TITLE_SIZE, True), 70 + baseline(SUBTITLE_SIZE))
    draw.text((MARGIN, lines[0]), title, font=title_font, fill=TEXT_COLOR, anchor='ls')
    draw.text((MARGIN, lines[1]), subtitle, font=subtitle_font, fill=FAINT_COLOR, anchor='ls')
    line = MARGIN + TILE_WIDTH + QUERY_GAP // 2
    draw.line((line, HEADER_HEIGHT, line, height - MARGIN // 2), fill=LINE_COLOR, width=2)
    return canvas


def draw_tile(canvas: Image.Image, path: str | Path, corner: Point, color: Color) -> None:
    """Draw an image in a frame; one that cannot be read is marked as such and logged.

    Args:
        canvas: Picture to draw on.
        path: The image file.
        corner: Upper left of the frame.
        color: Color of the frame.
    """
    picture = try_picture(path, PICTURE_HEIGHT, PICTURE_WIDTH)
    if picture is None:
        _draw_frame(canvas, corner, UNKNOWN_COLOR)
        write_in_tile(canvas, corner, 'the image\ncannot be\nread')
        return
    _draw_frame(canvas, corner, color)
    left = corner[0] + FRAME + (PICTURE_WIDTH - picture.width) // 2
    top = corner[1] + FRAME + (PICTURE_HEIGHT - picture.height) // 2
    canvas.paste(picture, (left, top))


def write_in_tile(canvas: Image.Image, corner: Point, text: str) -> None:
    """Write a faint remark in the middle of a tile's place.

    Args:
        canvas: Picture to draw on.
        corner: Upper left of the tile.
        text: The remark.
    """
    center = (corner[0] + TILE_WIDTH // 2, corner[1] + TILE_HEIGHT // 2)
    font = text_font(LABEL_SIZE)
    ImageDraw.Draw(canvas).text(
        center, text, font=font, fill=FAINT_COLOR, anchor='mm', align='center'
    )


def draw_verdict(canvas: Image.Image, corner: Point, right: bool) -> None:
    """Draw the tick or the cross into the upper right of a tile.

    Args:
        canvas: Picture to draw on.
        corner: Upper left of the tile.
        right: Whether the answer is right.
    """
    place = (corner[0] + TILE_WIDTH - FRAME - BADGE - 3, corner[1] + FRAME + 3)
    draw_badge(canvas, place, right)


def draw_badge(canvas: Image.Image, corner: Point, right: bool) -> None:
    """Draw a tick or a cross on a disc.

    Args:
        canvas: Picture to draw on.
        corner: Upper left of the disc's bounding box.
        right: Whether it is a tick.
    """
    fine = 4  # drawn larger and shrunk, because ImageDraw does not smooth edges
    size = BADGE * fine
    badge = Image.new('RGBA', (size, size), (0, 0, 0, 0))
    draw = ImageDraw.Draw(badge)
    draw.ellipse((0, 0, size - 1, size - 1), fill=(255, 255, 255, 255))
    draw.ellipse(
        (2 * fine, 2 * fine, size - 1 - 2 * fine, size - 1 - 2 * fine),
        fill=RIGHT_COLOR if right else WRONG_COLOR,
    )
    strokes = (
        [[(0.28, 0.53), (0.44, 0.68), (0.73, 0.35)]]
        if right
        else [[(0.34, 0.34), (0.66, 0.66)], [(0.66, 0.34), (0.34, 0.66)]]
    )
    for stroke in strokes:
        points = [(x * size, y * size) for x, y in stroke]
        draw.line(points, fill='white', width=3 * fine, joint='curve')
    badge = badge.resize((BADGE, BADGE), Image.Resampling.LANCZOS)
    canvas.paste(badge, corner, badge)


def draw_caption(
    canvas: Image.Image,
    corner: Point,
    camera: int | str,
    person_id: int | str,
    *,
    value: str = '',
    note: str = '',
    name: str = '',
) -> None:
    """Write camera and value, and below them identity and note, under a tile.

    Args:
        canvas: Picture to draw on.
        corner: Upper left of the tile.
        camera: 0-based camera, negative where unknown, which is counted from 1 in the picture; or
            its name.
        person_id: Identity, negative where unknown; or its name.
        value: Text on the right of the first line, or of the second if the camera has a name.
        note: Text on the right of the second line.
        name: What is written for an identity that is unknown, shortened to the tile's width.
    """
    draw = ImageDraw.Draw(canvas)
    left, top = corner[0], corner[1] + TILE_HEIGHT + 6
    right, below = left + TILE_WIDTH, top + 20
    label = text_font(LABEL_SIZE)
    if isinstance(camera, str):  # a name takes the whole line
        bold = text_font(LABEL_SIZE, True, camera)
        seen_by, value_top, beside = _shorten(camera, bold, TILE_WIDTH), below - 1, value + note
    else:
        bold = text_font(LABEL_SIZE, True)
        seen_by, value_top, beside = f'cam {camera_name(camera)}', top, note
    place = (left, top + baseline(LABEL_SIZE, True))
    draw.text(place, seen_by, font=bold, fill=TEXT_COLOR, anchor='ls')
    draw.text((right, value_top), value, font=label, fill=TEXT_COLOR, anchor='ra')
    if not isinstance(person_id, str):
        person_id = f'id {person_id}' if person_id >= 0 else name or 'id ?'
    kept = round(label.getlength(beside)) + CAPTION_GAP if beside else 0
    small = text_font(SMALL_SIZE, text=person_id)
    identity = _shorten(person_id, small, TILE_WIDTH - kept)
    place = (left, below + baseline(SMALL_SIZE))
    draw.text(place, identity, font=small, fill=FAINT_COLOR, anchor='ls')
    draw.text((right, below), note, font=text_font(SMALL_SIZE), fill=FAINT_COLOR, anchor='ra')


def _shorten(name: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """Leave out the middle of a name that is wider: both ends tell files apart."""
    name = shown = escape_controls(name)
    kept = len(name)
    while kept > 2 and font.getlength(shown) > width:
        kept -= 1
        shown = f'{name[: (kept + 1) // 2]}…{name[len(name) - kept // 2 :]}'
    return shown


def _draw_frame(canvas: Image.Image, corner: Point, color: Color) -> None:
    """Draw a frame around an empty mat."""
    left, top = corner
    box = (left, top, left + TILE_WIDTH - 1, top + TILE_HEIGHT - 1)
    ImageDraw.Draw(canvas).rectangle(box, fill=MAT_COLOR, outline=color, width=FRAME)
