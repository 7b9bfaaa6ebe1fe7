"""A sheet of relevance maps: a row for each photo, a column for each feature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from .color_scale import DEFAULT_COLORMAP
from .map_grid import MapPanel, MapRow, draw_map_grid

UNIT = 'relevance (1: spread evenly over the photo)'


def relevance_panel(photo: np.ndarray, map_: np.ndarray, caption: str = '') -> MapPanel:
    """Lay relevance over a photo, in multiples of what each pixel has if it is spread evenly.

    Args:
        photo: uint8 of shape (H, W, 3), RGB.
        map_: (H, W), not negative, with the sum one, or zero where nothing raises the score.
        caption: What is written below it.

    Returns:
        The panel; a map of zeros is marked.
    """
    if not map_.any():
        caption = f'{caption}\nnothing relevant'.strip()
    return MapPanel(photo, map_ * map_.size, caption)


def draw_relevance_sheet(
    photos: Sequence[np.ndarray],
    names: Sequence[str],
    maps: Mapping[str, Sequence[np.ndarray]],
    title: str,
    protocol: str = '',
    colormap: str = DEFAULT_COLORMAP,
) -> Figure:
    """Draw photos with the relevance of their pixels, a column for each feature.

    Args:
        photos: N photos, uint8 of shape (H, W, 3), RGB.
        names: N names, such as those of files.
        maps: By column, N maps of shape (H, W), not negative, each with the sum one or zero.
        title: First line.
        protocol: Second line: model, method and score.
        colormap: Name of a colormap of matplotlib.

    Returns:
        The figure, ready for ``savefig``.

    Raises:
        UserError: If there is no such colormap.

    Example:
        >>> photo = np.zeros((8, 4, 3), np.uint8)
        >>> maps = {'cnn': [np.full((8, 4), 1 / 32)], 'cnn_fused': [np.zeros((8, 4))]}
        >>> figure = draw_relevance_sheet([photo], ['a.jpg'], maps, 'Relevance')
        >>> len(figure.axes)  # a photo, two maps and the scale
        4
    """
    rows = [
        MapRow(
            name,
            [MapPanel(photo), *(relevance_panel(photo, column[place]) for column in maps.values())],
        )
        for place, (photo, name) in enumerate(zip(photos, names, strict=True))
    ]
    return draw_map_grid(
        rows, title, protocol, unit=UNIT, column_titles=['photo', *maps], colormap=colormap
    )
