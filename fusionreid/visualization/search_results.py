"""A picture of what a search found: each query with its nearest images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from fusionreid.utils.integers import UNKNOWN

from .style import FAINT_COLOR, QUERY_COLOR, RIGHT_COLOR, UNKNOWN_COLOR, WRONG_COLOR, text_font
from .tiles import (
    CAPTION_HEIGHT,
    HEADER_HEIGHT,
    LABEL_SIZE,
    MARGIN,
    MAT_COLOR,
    ROW_HEIGHT,
    TILE_HEIGHT,
    TILE_WIDTH,
    answer_left,
    draw_caption,
    draw_tile,
    draw_verdict,
    new_canvas,
)

BAR_HEIGHT = 5


@dataclass(frozen=True)
class QueryAnswers:
    """A query image and the images found for it, nearest first.

    Args:
        path: The query's image file.
        person_id: Its identity, -1 where unknown, or its name.
        camera_id: Its 0-based camera, -1 where unknown, or its name.
        paths: Image files of the answers.
        person_ids: Their identities, -1 where unknown, or their names.
        camera_ids: Their 0-based cameras, -1 where unknown, or their names.
        distances: Their distances.
    """

    path: str | Path
    person_id: int | str
    camera_id: int | str
    paths: Sequence[str | Path]
    person_ids: Sequence[int | str]
    camera_ids: Sequence[int | str]
    distances: Sequence[float]


def draw_search_results(queries: Sequence[QueryAnswers], title: str, subtitle: str) -> Image.Image:
    """Draw what a search found, one query a row.

    The query has a blue frame. Where the identities of query and answer are both known, the answer
    has a green frame and a tick or a red one and a cross, else a gray frame. Below it stand camera
    (its name, or its number from 1, as in file names), identity (the file's name where it is
    unknown) and distance, and a bar as long as the distance; the longest bar of the picture is the
    largest distance in it. An image that cannot be read is marked as such and logged.

    Args:
        queries: The queries with their answers.
        title: First line.
        subtitle: Second line.

    Returns:
        The drawing, an RGB image.

    Raises:
        ValueError: If there is no query.
    """
    if not queries:
        raise ValueError('there is no query to draw')
    columns = max(1, *(len(query.paths) for query in queries))
    height = HEADER_HEIGHT + len(queries) * ROW_HEIGHT + 12
    canvas = new_canvas(columns, title, subtitle, height=height)
    farthest = max((float(d) for query in queries for d in query.distances), default=0.0)
    for row, query in enumerate(queries):
        _draw_row(canvas, query, HEADER_HEIGHT + row * ROW_HEIGHT, farthest)
    return canvas


def _draw_row(canvas: Image.Image, query: QueryAnswers, top: int, farthest: float) -> None:
    draw = ImageDraw.Draw(canvas)
    draw_tile(canvas, query.path, (MARGIN, top), QUERY_COLOR)
    own_name = Path(query.path).name
    draw_caption(
        canvas, (MARGIN, top), query.camera_id, query.person_id, value='query', name=own_name
    )
    if not query.paths:
        place, font = (answer_left(0), top + TILE_HEIGHT // 2), text_font(LABEL_SIZE)
        draw.text(place, 'nothing passes the filters', font=font, fill=FAINT_COLOR)
    answers = zip(query.paths, query.person_ids, query.camera_ids, query.distances, strict=True)
    for rank, (path, person, camera, distance) in enumerate(answers):
        corner = (answer_left(rank), top)
        known = UNKNOWN not in (query.person_id, person)
        right = known and person == query.person_id
        color = (RIGHT_COLOR if right else WRONG_COLOR) if known else UNKNOWN_COLOR
        draw_tile(canvas, path, corner, color)
        if known:
            draw_verdict(canvas, corner, right)
        draw_caption(canvas, corner, camera, person, value=f'{distance:.3f}', name=Path(path).name)
        bar_top = top + TILE_HEIGHT + CAPTION_HEIGHT - BAR_HEIGHT - 1
        ends = (corner[0], bar_top, corner[0] + TILE_WIDTH - 1, bar_top + BAR_HEIGHT - 1)
        draw.rectangle(ends, fill=MAT_COLOR)
        if farthest > 0:
            length = max(1, round((TILE_WIDTH - 1) * float(distance) / farthest))
            draw.rectangle((*ends[:2], corner[0] + length, ends[3]), fill=color)
