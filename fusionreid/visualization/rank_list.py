"""A picture of rank lists: queries with the gallery images that were found for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from fusionreid.errors import ScoringError

from .color_scale import DEFAULT_COLORMAP, ColorScale
from .fonts import text_font
from .map_grid import MapPanel
from .style import FAINT_COLOR, QUERY_COLOR, RIGHT_COLOR, TEXT_COLOR, WRONG_COLOR
from .tiles import (
    BADGE,
    CAPTION_HEIGHT,
    GAP,
    HEADER_HEIGHT,
    LABEL_SIZE,
    MARGIN,
    PICTURE_HEIGHT,
    PICTURE_WIDTH,
    ROW_HEIGHT,
    SMALL_SIZE,
    TILE_HEIGHT,
    TILE_WIDTH,
    Point,
    answer_left,
    draw_badge,
    draw_caption,
    draw_tile,
    draw_verdict,
    new_canvas,
    write_in_tile,
)

COLUMN_TITLE_HEIGHT, COLUMN_TITLE_SIZE = 34, 16
LEGEND_WIDTH = 330
TITLE_GAP = 40
# Below a list: for each wrong answer the query and the answer side by side, at half their size.
HALF_WIDTH, HALF_HEIGHT = PICTURE_WIDTH // 2, PICTURE_HEIGHT // 2
STRIP_HEIGHT = HALF_HEIGHT + 2 * GAP
BAR_HEIGHT = 12

# By row and rank, the query and the answer with maps of what makes them alike.
Reasons = Mapping[tuple[int, int], tuple[MapPanel, MapPanel]]


def select_queries(average_precision: Sequence[float] | np.ndarray, num_queries: int) -> list[int]:
    """Choose queries from the easiest to the hardest, evenly by rank of average precision.

    Args:
        average_precision: Average precision of each query, in [0, 1]; NaN for a query without a
            right answer in the gallery, which is never chosen.
        num_queries: How many queries to choose; all are, if there are fewer.

    Returns:
        Indices of the chosen queries, by descending average precision (ties by index).

    Raises:
        ScoringError: If ``num_queries`` is not positive or no query has an average precision.

    Example:
        >>> select_queries([0.2, 1.0, float('nan'), 0.5], num_queries=2)
        [1, 0]
    """
    scores = np.asarray(average_precision, dtype=np.float64)
    if num_queries < 1:
        raise ScoringError(f'num_queries must be at least 1, got {num_queries}')
    scored = np.flatnonzero(~np.isnan(scores))
    if scored.size == 0:
        raise ScoringError(
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
    reasons: Reasons | None = None,
    colormap: str = DEFAULT_COLORMAP,
) -> Image.Image:
    """Draw queries, one a row, with the gallery images that were found for them.

    The query has a blue frame. A right answer has a green frame and a tick, a wrong one a red frame
    and a cross. Camera, distance and identity stand under every picture; cameras are numbered from
    1, as in the data sets' file names. An image that cannot be read is marked as such and logged.

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
        reasons: By row and rank of an answer, both from 0, the query and the answer with a map each
            of what makes them alike, see
            :func:`~fusionreid.visualization.relevance_sheet.relevance_panel`. They are drawn in a
            strip below the list. All maps share one color scale.
        colormap: Name of a colormap of matplotlib, for the maps.

    Returns:
        The drawing, an RGB image.

    Raises:
        UserError: If there is no such colormap.
        ValueError: If lengths or shapes disagree, an index lies outside the gallery, or an answer
            has the query's identity and camera.
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
    reasons = reasons or {}
    maps = [panel.map for pair in reasons.values() for panel in pair if panel.map is not None]
    scale = ColorScale.for_maps(maps, colormap)
    explained = {row for row, _ in reasons}
    strips = len(explained) * STRIP_HEIGHT
    height = HEADER_HEIGHT + COLUMN_TITLE_HEIGHT + num_queries * ROW_HEIGHT + strips
    height += MARGIN // 2 - GAP
    canvas = new_canvas(
        top_k, title, protocol, height=height, beside_title=TITLE_GAP + LEGEND_WIDTH
    )
    _draw_legend(canvas)
    _draw_column_titles(canvas, top_k)

    below = HEADER_HEIGHT + COLUMN_TITLE_HEIGHT
    for row in range(num_queries):
        top, below = below, below + ROW_HEIGHT + (STRIP_HEIGHT if row in explained else 0)
        strip_top = top + TILE_HEIGHT + CAPTION_HEIGHT
        if row in explained:
            _draw_strip_legend(canvas, (MARGIN, strip_top), scale)
        query_id, query_camera = int(query_ids[row]), int(query_cameras[row])
        draw_tile(canvas, query_paths[row], (MARGIN, top), QUERY_COLOR)
        score = '' if average_precision is None else f'AP {100 * average_precision[row]:.1f}%'
        draw_caption(canvas, (MARGIN, top), query_camera, query_id, note=score)

        for rank in range(top_k):
            corner = (answer_left(rank), top)
            index = int(indices[row, rank])
            if index < 0:
                write_in_tile(canvas, corner, 'no more')
                continue
            answer_id, answer_camera = int(gallery_ids[index]), int(gallery_cameras[index])
            right = answer_id == query_id
            if right and answer_camera == query_camera >= 0:
                raise ValueError(
                    f'{gallery_paths[index]} has the identity ({answer_id}) and the camera '
                    f'({answer_camera}) of its query {query_paths[row]}; '
                    'leave such images out before ranking'
                )
            draw_tile(canvas, gallery_paths[index], corner, RIGHT_COLOR if right else WRONG_COLOR)
            draw_verdict(canvas, corner, right)
            distance = f'{float(distances[row, rank]):.3f}'
            draw_caption(canvas, corner, answer_camera, answer_id, value=distance)
            if (row, rank) in reasons:
                _draw_reason(canvas, (corner[0], strip_top), reasons[row, rank], scale)
    return canvas


def _check(
    query_lengths: list[int],
    gallery_lengths: list[int],
    indices: np.ndarray,
    distances: np.ndarray,
    num_scores: int | None,
) -> None:
    """Refuse input whose parts do not fit together."""
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


def _draw_legend(canvas: Image.Image) -> None:
    draw, font = ImageDraw.Draw(canvas), text_font(LABEL_SIZE)
    left, middle = canvas.width - MARGIN - LEGEND_WIDTH, 46
    for right, meaning, width in ((True, 'same person', 160), (False, 'another person', 170)):
        draw_badge(canvas, (left, middle - BADGE // 2), right)
        draw.text((left + BADGE + 6, middle), meaning, font=font, fill=TEXT_COLOR, anchor='lm')
        left += width


def _draw_column_titles(canvas: Image.Image, top_k: int) -> None:
    draw, font = ImageDraw.Draw(canvas), text_font(COLUMN_TITLE_SIZE, bold=True)
    middle = HEADER_HEIGHT + COLUMN_TITLE_HEIGHT // 2 - 3
    titles = [(MARGIN, 'query')]
    titles += [(answer_left(rank), str(rank + 1)) for rank in range(top_k)]
    for left, text in titles:
        position = (left + TILE_WIDTH // 2, middle)
        draw.text(position, text, font=font, fill=TEXT_COLOR, anchor='mm')


def _draw_reason(
    canvas: Image.Image, corner: Point, pair: tuple[MapPanel, MapPanel], scale: ColorScale
) -> None:
    """Draw query and answer through their maps, side by side."""
    for place, panel in enumerate(pair):
        pixels = panel.photo if panel.map is None else scale.lay_over(panel.photo, panel.map)
        picture = ImageOps.contain(
            Image.fromarray(pixels), (HALF_WIDTH, HALF_HEIGHT), Image.Resampling.LANCZOS
        )
        left = corner[0] + place * (TILE_WIDTH - HALF_WIDTH) + (HALF_WIDTH - picture.width) // 2
        canvas.paste(picture, (left, corner[1] + (HALF_HEIGHT - picture.height) // 2))


def _draw_strip_legend(canvas: Image.Image, corner: Point, scale: ColorScale) -> None:
    """Say what the strip shows, and what its colors mean."""
    draw, font = ImageDraw.Draw(canvas), text_font(SMALL_SIZE)
    left, top = corner
    lines = 'what makes query\n(left) and answer\n(right) alike'
    draw.multiline_text((left, top), lines, font=font, fill=TEXT_COLOR, spacing=4)
    shades = scale.color(np.linspace(0, scale.top, TILE_WIDTH)[None].repeat(BAR_HEIGHT, 0))
    bar = top + HALF_HEIGHT - BAR_HEIGHT - 22
    draw.text((left, bar - 21), 'relevance', font=font, fill=FAINT_COLOR)
    canvas.paste(Image.fromarray(np.round(255 * shades).astype(np.uint8)), (left, bar))
    below = bar + BAR_HEIGHT + 4
    most = f'{"≥ " if scale.clipped else ""}{scale.top:.0f}'
    draw.text((left, below), '0', font=font, fill=FAINT_COLOR)
    draw.text((left + TILE_WIDTH, below), most, font=font, fill=FAINT_COLOR, anchor='ra')
