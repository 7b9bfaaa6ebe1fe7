import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont

from fusionreid.datasets.transforms import read_image

# Okabe-Ito colors, distinct for color-blind readers too; every answer also carries a symbol.
QUERY_COLOR = (0, 114, 178)
RIGHT_COLOR = (0, 158, 115)
WRONG_COLOR = (213, 62, 30)
BACKGROUND = (255, 255, 255)
TEXT_COLOR = (34, 34, 34)
FAINT_COLOR = (110, 110, 110)
LINE_COLOR = (214, 214, 214)
MAT_COLOR = (236, 236, 236)

# Sizes in pixels. A picture of 128x64 is shown at exactly twice its size.
PICTURE_WIDTH, PICTURE_HEIGHT = 128, 256
FRAME = 6
TILE_WIDTH, TILE_HEIGHT = PICTURE_WIDTH + 2 * FRAME, PICTURE_HEIGHT + 2 * FRAME
CAPTION_HEIGHT = 52
GAP = 14
MARGIN = 36
HEADER_HEIGHT = 112
COLUMN_TITLE_HEIGHT = 34
QUERY_GAP = 44  # holds the line between the query and its answers
ROW_HEIGHT = TILE_HEIGHT + CAPTION_HEIGHT + GAP
BADGE = 30
LEGEND_WIDTH = 330
TITLE_GAP = 40


@cache
def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    # matplotlib brings this font along, so the picture looks the same on every machine.
    properties = font_manager.FontProperties(
        family='DejaVu Sans', weight='bold' if bold else 'normal'
    )
    return ImageFont.truetype(font_manager.findfont(properties), size)


TITLE_FONT = _font(28, bold=True)
PROTOCOL_FONT = _font(17)


def select_queries(average_precision: Sequence[float] | np.ndarray, num_queries: int) -> list[int]:
    """Chooses queries from the easiest to the hardest, evenly by rank of average precision.

    Args:
        average_precision: Average precision of each query, in [0, 1]; NaN for a query without a
            right answer in the gallery, which is never chosen.
        num_queries: How many queries to choose; all are, if there are fewer.

    Returns:
        Indices of the chosen queries, by descending average precision (ties by index).

    Raises:
        ValueError: If ``num_queries`` is not positive or no query has an average precision.
    """
    scores = np.asarray(average_precision, dtype=np.float64)
    if num_queries < 1:
        raise ValueError(f'num_queries must be at least 1, got {num_queries}')
    scored = np.flatnonzero(~np.isnan(scores))
    if scored.size == 0:
        raise ValueError(
            f'none of the {scores.size} queries has a right answer in the gallery, '
            'so there is nothing to choose from'
        )
    by_difficulty = scored[np.argsort(-scores[scored], kind='stable')]
    places = np.linspace(0, scored.size - 1, min(num_queries, scored.size))
    return by_difficulty[np.round(places).astype(int)].tolist()


def draw_rank_lists(
    query_paths: Sequence[str | Path],
    query_ids: Sequence[int],
    query_cameras: Sequence[int],
    gallery_paths: Sequence[str | Path],
    gallery_ids: Sequence[int],
    gallery_cameras: Sequence[int],
    indices: np.ndarray,
    distances: np.ndarray,
    title: str,
    protocol: str,
    average_precision: Sequence[float] | None = None,
) -> Image.Image:
    """Draws queries, one a row, with the gallery images that were found for them.

    The query has a blue frame. A right answer has a green frame and a tick, a wrong one a red frame
    and a cross. Camera, distance and identity stand under every picture; cameras are numbered from
    1, as in the data sets' file names.

    Args:
        query_paths: Image files of the Q queries.
        query_ids: Their identities, of length Q.
        query_cameras: Their 0-based cameras, -1 where unknown, of length Q.
        gallery_paths: Image files of the G gallery images.
        gallery_ids: Their identities, of length G.
        gallery_cameras: Their 0-based cameras, -1 where unknown, of length G.
        indices: Gallery positions of the answers, best first, of shape (Q, K); -1 where a query has
            fewer than K. Images of the query's identity and camera must have been left out.
        distances: Distances of the answers, of shape (Q, K).
        title: First line.
        protocol: Second line: data set, features, what was left out.
        average_precision: Average precision of each query in [0, 1], written under it.

    Returns:
        The drawing, an RGB image.

    Raises:
        ValueError: If lengths or shapes disagree, an index lies outside the gallery, an answer has
            the query's identity and camera, or an image cannot be read.
    """
    indices, distances = np.asarray(indices), np.asarray(distances)
    _check(
        [len(query_paths), len(query_ids), len(query_cameras)],
        [len(gallery_paths), len(gallery_ids), len(gallery_cameras)],
        indices,
        distances,
        None if average_precision is None else len(average_precision),
    )
    num_queries, top_k = indices.shape
    canvas = Image.new('RGB', _canvas_size(num_queries, top_k, title, protocol), BACKGROUND)
    draw = ImageDraw.Draw(canvas)
    _draw_header(canvas, top_k, title, protocol)

    for row in range(num_queries):
        top = HEADER_HEIGHT + COLUMN_TITLE_HEIGHT + row * ROW_HEIGHT
        query_id, query_camera = int(query_ids[row]), int(query_cameras[row])
        _draw_picture(canvas, query_paths[row], (MARGIN, top), QUERY_COLOR)
        score = '' if average_precision is None else f'AP {100 * average_precision[row]:.1f}%'
        _draw_caption(draw, (MARGIN, top), query_camera, query_id, '', score)

        for rank in range(top_k):
            left = _answer_left(rank)
            index = int(indices[row, rank])
            if index < 0:
                center = (left + TILE_WIDTH // 2, top + TILE_HEIGHT // 2)
                draw.text(center, 'no more', font=_font(15), fill=FAINT_COLOR, anchor='mm')
                continue
            answer_id, answer_camera = int(gallery_ids[index]), int(gallery_cameras[index])
            right = answer_id == query_id
            if right and answer_camera == query_camera >= 0:
                raise ValueError(
                    f'{gallery_paths[index]} has the identity ({answer_id}) and the camera '
                    f'({answer_camera}) of its query {query_paths[row]}; '
                    'leave such images out before ranking'
                )
            _draw_picture(
                canvas, gallery_paths[index], (left, top), RIGHT_COLOR if right else WRONG_COLOR
            )
            _draw_badge(canvas, (left + TILE_WIDTH - FRAME - BADGE - 3, top + FRAME + 3), right)
            distance = f'{float(distances[row, rank]):.3f}'
            _draw_caption(draw, (left, top), answer_camera, answer_id, distance, '')
    return canvas


def _check(
    query_lengths: list[int],
    gallery_lengths: list[int],
    indices: np.ndarray,
    distances: np.ndarray,
    num_scores: int | None,
) -> None:
    """Refuses input whose parts do not fit together."""
    for part, lengths in (('query', query_lengths), ('gallery', gallery_lengths)):
        if len(set(lengths)) != 1:
            raise ValueError(f'{part} paths, ids and cameras must be equally many, got {lengths}')
    num_queries, num_gallery = query_lengths[0], gallery_lengths[0]
    if indices.ndim != 2 or len(indices) != num_queries or 0 in indices.shape:
        raise ValueError(
            f'indices must have the shape ({num_queries} queries, top k >= 1), got {indices.shape}'
        )
    if distances.shape != indices.shape:
        raise ValueError(
            f'distances must have the shape of indices {indices.shape}, got {distances.shape}'
        )
    if indices.min() < -1 or indices.max() >= num_gallery:
        raise ValueError(
            f'indices must lie in [-1, {num_gallery - 1}], '
            f'got values from {indices.min()} to {indices.max()}'
        )
    if num_scores not in (None, num_queries):
        raise ValueError(f'average_precision must have {num_queries} values, got {num_scores}')


def _answer_left(rank: int) -> int:
    return MARGIN + TILE_WIDTH + QUERY_GAP + rank * (TILE_WIDTH + GAP)


def _canvas_size(num_queries: int, top_k: int, title: str, protocol: str) -> tuple[int, int]:
    texts = max(
        TITLE_FONT.getlength(title) + TITLE_GAP + LEGEND_WIDTH, PROTOCOL_FONT.getlength(protocol)
    )
    width = max(_answer_left(top_k) - GAP, MARGIN + math.ceil(texts)) + MARGIN
    height = HEADER_HEIGHT + COLUMN_TITLE_HEIGHT + num_queries * ROW_HEIGHT - GAP + MARGIN // 2
    return width, height


def _draw_header(canvas: Image.Image, top_k: int, title: str, protocol: str) -> None:
    draw = ImageDraw.Draw(canvas)
    draw.text((MARGIN, 28), title, font=TITLE_FONT, fill=TEXT_COLOR)
    draw.text((MARGIN, 70), protocol, font=PROTOCOL_FONT, fill=FAINT_COLOR)

    left, middle = canvas.width - MARGIN - LEGEND_WIDTH, 46
    for right, meaning, width in ((True, 'same person', 160), (False, 'another person', 170)):
        _draw_badge(canvas, (left, middle - BADGE // 2), right)
        position = (left + BADGE + 6, middle)
        draw.text(position, meaning, font=_font(15), fill=TEXT_COLOR, anchor='lm')
        left += width

    middle = HEADER_HEIGHT + COLUMN_TITLE_HEIGHT // 2 - 3
    titles = [(MARGIN, 'query')]
    titles += [(_answer_left(rank), str(rank + 1)) for rank in range(top_k)]
    for left, text in titles:
        position = (left + TILE_WIDTH // 2, middle)
        draw.text(position, text, font=_font(16, bold=True), fill=TEXT_COLOR, anchor='mm')
    line = MARGIN + TILE_WIDTH + QUERY_GAP // 2
    draw.line((line, HEADER_HEIGHT, line, canvas.height - MARGIN // 2), fill=LINE_COLOR, width=2)


def _draw_picture(
    canvas: Image.Image, path: str | Path, corner: tuple[int, int], color: tuple[int, int, int]
) -> None:
    """Pastes an image, at its own aspect ratio, into a frame whose upper left is ``corner``."""
    picture = Image.fromarray(read_image(str(path)))
    scale = min(PICTURE_WIDTH / picture.width, PICTURE_HEIGHT / picture.height)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    picture = picture.resize(size, Image.Resampling.LANCZOS)

    left, top = corner
    draw = ImageDraw.Draw(canvas)
    draw.rectangle((left, top, left + TILE_WIDTH - 1, top + TILE_HEIGHT - 1), fill=color)
    inner = (left + FRAME, top + FRAME)
    draw.rectangle(
        (*inner, inner[0] + PICTURE_WIDTH - 1, inner[1] + PICTURE_HEIGHT - 1), fill=MAT_COLOR
    )
    offset = ((PICTURE_WIDTH - size[0]) // 2, (PICTURE_HEIGHT - size[1]) // 2)
    canvas.paste(picture, (inner[0] + offset[0], inner[1] + offset[1]))


def _draw_badge(canvas: Image.Image, corner: tuple[int, int], right: bool) -> None:
    """Draws a tick or a cross on a disc whose bounding box starts at ``corner``."""
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


def _draw_caption(
    draw: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    camera: int,
    person_id: int,
    distance: str,
    score: str,
) -> None:
    """Writes camera and distance, and below them identity and score, under a frame."""
    left, top = corner[0], corner[1] + TILE_HEIGHT + 6
    right, below = left + TILE_WIDTH, top + 20
    name = 'cam ?' if camera < 0 else f'cam {camera + 1}'
    draw.text((left, top), name, font=_font(15, bold=True), fill=TEXT_COLOR)
    draw.text((right, top), distance, font=_font(15), fill=TEXT_COLOR, anchor='ra')
    draw.text((left, below), f'id {person_id}', font=_font(14), fill=FAINT_COLOR)
    draw.text((right, below), score, font=_font(14), fill=FAINT_COLOR, anchor='ra')
