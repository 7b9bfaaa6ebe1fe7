"""A picture of rank lists: queries with the gallery images that were found for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from fusionreid.errors import ScoringError

from .style import QUERY_COLOR, RIGHT_COLOR, TEXT_COLOR, WRONG_COLOR, text_font
from .tiles import (
    BADGE,
    GAP,
    HEADER_HEIGHT,
    LABEL_SIZE,
    MARGIN,
    ROW_HEIGHT,
    TILE_WIDTH,
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

    Returns:
        The drawing, an RGB image.

    Raises:
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
    height = HEADER_HEIGHT + COLUMN_TITLE_HEIGHT + num_queries * ROW_HEIGHT - GAP + MARGIN // 2
    canvas = new_canvas(
        top_k, title, protocol, height=height, beside_title=TITLE_GAP + LEGEND_WIDTH
    )
    _draw_legend(canvas)
    _draw_column_titles(canvas, top_k)

    for row in range(num_queries):
        top = HEADER_HEIGHT + COLUMN_TITLE_HEIGHT + row * ROW_HEIGHT
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
