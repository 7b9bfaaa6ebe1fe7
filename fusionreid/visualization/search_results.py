"""A picture of what a search found: each query with its nearest images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from fusionreid.utils.integers import UNKNOWN

from .fonts import text_font
from .style import (
    FAINT_COLOR,
    QUERY_COLOR,
    RIGHT_COLOR,
    TEXT_COLOR,
    UNKNOWN_COLOR,
    WRONG_COLOR,
)
from .tiles import (
    CAPTION_HEIGHT,
    FRAME,
    HEADER_HEIGHT,
    LABEL_SIZE,
    MARGIN,
    MAT_COLOR,
    ROW_HEIGHT,
    SMALL_SIZE,
    TILE_HEIGHT,
    TILE_WIDTH,
    TITLE_SIZE,
    answer_left,
    draw_caption,
    draw_tile,
    draw_verdict,
    new_canvas,
    try_picture,
)

BAR_HEIGHT = 5
# Below the bar of an answer from a video.
MOMENT_SIZE, MOMENT_HEIGHT, STRIP_HEIGHT = 13, 24, 72
STRIP_ZONE = MOMENT_HEIGHT + STRIP_HEIGHT


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
        rates: How often strangers are as near as each answer, with the ends of the interval; empty
            where that is not known.
        nearest: Distance of the nearest image, an answer or not; infinite where there is none.
        limit: Distance from which on images are no answers, whatever the cameras; None for none.
        moments: Of answers that are from videos: when they were seen, ``''`` for the others; empty
            where none is.
        strips: Of these: image files of some moments side by side.
    """

    path: str | Path
    person_id: int | str
    camera_id: int | str
    paths: Sequence[str | Path]
    person_ids: Sequence[int | str]
    camera_ids: Sequence[int | str]
    distances: Sequence[float]
    rates: Sequence[tuple[float, float, float]] = ()
    nearest: float = math.inf
    limit: float | None = None
    moments: Sequence[str] = ()
    strips: Sequence[str] = ()

    @property
    def is_nobody(self) -> bool:
        """Whether there are images, but none that is near enough."""
        return not self.paths and math.isfinite(self.nearest)

    @property
    def why_nobody(self) -> str:
        """What keeps the nearest image from being an answer."""
        if self.limit is None or self.nearest < self.limit:  # two cameras have another limit
            return f'the nearest image is at {self.nearest:.4f}'
        return f'no image is nearer than {self.limit:.4f}, the nearest is at {self.nearest:.4f}'


def draw_search_results(queries: Sequence[QueryAnswers], title: str, subtitle: str) -> Image.Image:
    """Draw what a search found, one query a row.

    The query has a blue frame. Where the identities of query and answer are both known, the answer
    has a green frame and a tick or a red one and a cross, else a gray frame. Below it stand camera
    (its name, or its number from 1, as in file names), identity (the file's name where it is
    unknown) and distance, and a bar as long as the distance; the longest bar of the picture is the
    largest distance in it. Where it is known how often strangers are as near, that stands below the
    distance. Of an answer from a video the time and some moments follow. Where nobody is near
    enough, an empty frame says so. An image that cannot be read is marked as such and logged.

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
    row_height = ROW_HEIGHT + (STRIP_ZONE if any(query.moments for query in queries) else 0)
    height = HEADER_HEIGHT + len(queries) * row_height + 12
    canvas = new_canvas(columns, title, subtitle, height=height)
    farthest = max((float(d) for query in queries for d in query.distances), default=0.0)
    for row, query in enumerate(queries):
        _draw_row(canvas, query, HEADER_HEIGHT + row * row_height, farthest)
    return canvas


def _draw_row(canvas: Image.Image, query: QueryAnswers, top: int, farthest: float) -> None:
    draw = ImageDraw.Draw(canvas)
    draw_tile(canvas, query.path, (MARGIN, top), QUERY_COLOR)
    own_name = Path(query.path).name
    draw_caption(
        canvas, (MARGIN, top), query.camera_id, query.person_id, value='query', name=own_name
    )
    if query.is_nobody:
        _draw_nobody(canvas, query, (answer_left(0), top))
    elif not query.paths:
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
        draw_caption(
            canvas,
            corner,
            camera,
            person,
            value=f'{distance:.3f}',
            note=_percent(query.rates[rank][0]) if query.rates else '',
            name=Path(path).name,
        )
        bar_top = top + TILE_HEIGHT + CAPTION_HEIGHT - BAR_HEIGHT - 1
        ends = (corner[0], bar_top, corner[0] + TILE_WIDTH - 1, bar_top + BAR_HEIGHT - 1)
        draw.rectangle(ends, fill=MAT_COLOR)
        if farthest > 0:
            length = max(1, round((TILE_WIDTH - 1) * float(distance) / farthest))
            draw.rectangle((*ends[:2], corner[0] + length, ends[3]), fill=color)
        if query.moments and query.moments[rank]:
            place = (corner[0], top + TILE_HEIGHT + CAPTION_HEIGHT)
            _draw_moment(canvas, query.moments[rank], query.strips[rank], place)


def _draw_moment(canvas: Image.Image, moment: str, strip: str, corner: tuple[int, int]) -> None:
    """Write when somebody was seen, and draw some moments of it."""
    left, top = corner
    place = (left, top + 3)
    ImageDraw.Draw(canvas).text(place, moment, font=text_font(MOMENT_SIZE), fill=TEXT_COLOR)
    picture = try_picture(strip, STRIP_HEIGHT, TILE_WIDTH)
    if picture is not None:
        canvas.paste(picture, (left, top + MOMENT_HEIGHT))


def _draw_nobody(canvas: Image.Image, query: QueryAnswers, corner: tuple[int, int]) -> None:
    """Draw an empty frame in place of answers, and below it how far the nearest image is."""
    draw = ImageDraw.Draw(canvas)
    left, top = corner
    box = (left, top, left + TILE_WIDTH - 1, top + TILE_HEIGHT - 1)
    draw.rectangle(box, fill=MAT_COLOR, outline=UNKNOWN_COLOR, width=FRAME)
    center = (left + TILE_WIDTH // 2, top + TILE_HEIGHT // 2)
    draw.text(center, 'nobody', font=text_font(TITLE_SIZE, True), fill=TEXT_COLOR, anchor='mm')
    lines = [f'the nearest: {query.nearest:.3f}']
    if query.limit is not None and query.nearest >= query.limit:
        lines.insert(0, f'none nearer than {query.limit:.3f}')
    for number, line in enumerate(lines):
        place = (left, top + TILE_HEIGHT + 6 + 20 * number)
        draw.text(place, line, font=text_font(SMALL_SIZE), fill=FAINT_COLOR)


def _percent(rate: float) -> str:
    """A rate with one digit, short enough to stand beside an identity."""
    return f'{100 * rate:.1g}%' if rate < 0.1 else f'{100 * rate:.0f}%'
