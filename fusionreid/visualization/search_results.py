from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from .rank_list import (
    BACKGROUND,
    BADGE,
    CAPTION_HEIGHT,
    FAINT_COLOR,
    FRAME,
    GAP,
    LINE_COLOR,
    MARGIN,
    MAT_COLOR,
    PROTOCOL_FONT,
    QUERY_COLOR,
    QUERY_GAP,
    RIGHT_COLOR,
    TEXT_COLOR,
    TILE_HEIGHT,
    TILE_WIDTH,
    TITLE_FONT,
    WRONG_COLOR,
    _draw_badge,
    _draw_picture,
    _font,
)

UNKNOWN_COLOR = (150, 150, 150)
HEADER_HEIGHT = 108
ROW_HEIGHT = TILE_HEIGHT + CAPTION_HEIGHT + GAP
BAR_HEIGHT = 5


@dataclass(frozen=True)
class QueryAnswers:
    """A query image and the images found for it, nearest first.

    Args:
        path: The query's image file.
        person_id: Its identity, -1 where unknown.
        camera_id: Its 0-based camera, -1 where unknown.
        paths: Image files of the answers.
        person_ids: Their identities, -1 where unknown.
        camera_ids: Their 0-based cameras, -1 where unknown.
        distances: Their distances.
    """

    path: str | Path
    person_id: int
    camera_id: int
    paths: Sequence[str | Path]
    person_ids: Sequence[int]
    camera_ids: Sequence[int]
    distances: Sequence[float]


def draw_search_results(queries: Sequence[QueryAnswers], title: str, subtitle: str) -> Image.Image:
    """Draws what a search found, one query a row.

    The query has a blue frame. Where the identities of query and answer are both known, the answer
    has a green frame and a tick or a red one and a cross, else a gray frame. Below it stand camera
    (counted from 1, as in file names), identity and distance, and a bar as long as the distance;
    the longest bar of the picture is the largest distance in it.

    Args:
        queries: The queries with their answers.
        title: First line.
        subtitle: Second line.

    Returns:
        The drawing, an RGB image.

    Raises:
        ValueError: If there is no query, or its image cannot be read. Of an answer that cannot be
            read, the place stays gray.
    """
    if not queries:
        raise ValueError('there is no query to draw')
    columns = max(1, *(len(query.paths) for query in queries))
    texts = max(TITLE_FONT.getlength(title), PROTOCOL_FONT.getlength(subtitle))
    width = round(max(_left(columns) - GAP, MARGIN + texts)) + MARGIN
    canvas = Image.new('RGB', (width, HEADER_HEIGHT + len(queries) * ROW_HEIGHT + 12), BACKGROUND)
    draw = ImageDraw.Draw(canvas)
    draw.text((MARGIN, 24), title, font=TITLE_FONT, fill=TEXT_COLOR)
    draw.text((MARGIN, 64), subtitle, font=PROTOCOL_FONT, fill=FAINT_COLOR)
    line = MARGIN + TILE_WIDTH + QUERY_GAP // 2
    draw.line((line, HEADER_HEIGHT, line, canvas.height - 24), fill=LINE_COLOR, width=2)
    farthest = max((float(d) for query in queries for d in query.distances), default=0.0)
    for row, query in enumerate(queries):
        _draw_row(canvas, query, HEADER_HEIGHT + row * ROW_HEIGHT, farthest)
    return canvas


def _left(rank: int) -> int:
    return MARGIN + TILE_WIDTH + QUERY_GAP + rank * (TILE_WIDTH + GAP)


def _draw_row(canvas: Image.Image, query: QueryAnswers, top: int, farthest: float) -> None:
    draw = ImageDraw.Draw(canvas)
    _draw_picture(canvas, query.path, (MARGIN, top), QUERY_COLOR)
    _caption(draw, (MARGIN, top), query.camera_id, query.person_id, 'query')
    if not query.paths:
        place = (_left(0), top + TILE_HEIGHT // 2)
        draw.text(place, 'nothing passes the filters', font=_font(15), fill=FAINT_COLOR)
    answers = zip(query.paths, query.person_ids, query.camera_ids, query.distances, strict=True)
    for rank, (path, person, camera, distance) in enumerate(answers):
        corner = (_left(rank), top)
        known = query.person_id >= 0 and person >= 0
        right = known and person == query.person_id
        color = (RIGHT_COLOR if right else WRONG_COLOR) if known else UNKNOWN_COLOR
        try:
            _draw_picture(canvas, path, corner, color)
        except ValueError:
            _draw_gap(draw, corner)
        if known:
            _draw_badge(
                canvas, (corner[0] + TILE_WIDTH - FRAME - BADGE - 3, top + FRAME + 3), right
            )
        _caption(draw, corner, camera, person, f'{distance:.3f}')
        bar_top = top + TILE_HEIGHT + CAPTION_HEIGHT - BAR_HEIGHT - 1
        ends = (corner[0], bar_top, corner[0] + TILE_WIDTH - 1, bar_top + BAR_HEIGHT - 1)
        draw.rectangle(ends, fill=MAT_COLOR)
        if farthest > 0:
            length = max(1, round((TILE_WIDTH - 1) * float(distance) / farthest))
            draw.rectangle((*ends[:2], corner[0] + length, ends[3]), fill=color)


def _draw_gap(draw: ImageDraw.ImageDraw, corner: tuple[int, int]) -> None:
    left, top = corner
    box = (left, top, left + TILE_WIDTH - 1, top + TILE_HEIGHT - 1)
    draw.rectangle(box, fill=MAT_COLOR, outline=UNKNOWN_COLOR, width=FRAME)
    middle = (left + TILE_WIDTH // 2, top + TILE_HEIGHT // 2)
    text = 'the image\ncannot be\nread'
    draw.text(middle, text, font=_font(15), fill=FAINT_COLOR, anchor='mm', align='center')


def _caption(
    draw: ImageDraw.ImageDraw, corner: tuple[int, int], camera: int, person: int, text: str
) -> None:
    left, top = corner[0], corner[1] + TILE_HEIGHT + 5
    right = left + TILE_WIDTH
    name = 'cam ?' if camera < 0 else f'cam {camera + 1}'
    draw.text((left, top), name, font=_font(15, bold=True), fill=TEXT_COLOR)
    draw.text((right, top), text, font=_font(15), fill=TEXT_COLOR, anchor='ra')
    identity = 'id ?' if person < 0 else f'id {person}'
    draw.text((left, top + 19), identity, font=_font(14), fill=FAINT_COLOR)
