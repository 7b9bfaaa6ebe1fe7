"""A sheet of pairs of photos: which pixels make them alike, for each feature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from .color_scale import DEFAULT_COLORMAP
from .map_grid import MapPanel, MapRow, draw_map_grid
from .relevance_sheet import UNIT, relevance_panel


@dataclass(frozen=True)
class PhotoPair:
    """Two photos, and what makes them alike.

    Attributes:
        photos: Both photos, uint8 of shape (H, W, 3), RGB.
        names: Their names, such as those of files.
        maps: By feature, a map for each photo, (H, W), not negative, with the sum one or zero.
        distances: By feature, how far the photos are from each other.
    """

    photos: tuple[np.ndarray, np.ndarray]
    names: tuple[str, str]
    maps: Mapping[str, tuple[np.ndarray, np.ndarray]]
    distances: Mapping[str, float]


def draw_pair_sheet(
    pairs: Sequence[PhotoPair], title: str, protocol: str = '', colormap: str = DEFAULT_COLORMAP
) -> Figure:
    """Draw the photos of each pair one above the other, a column for each feature.

    Args:
        pairs: The pairs; all have the same features.
        title: First line.
        protocol: Second line: model and method.
        colormap: Name of a colormap of matplotlib.

    Returns:
        The figure, ready for ``savefig``.

    Raises:
        UserError: If there is no such colormap.

    Example:
        >>> photo, map_ = np.zeros((8, 4, 3), np.uint8), np.full((8, 4), 1 / 32)
        >>> pair = PhotoPair((photo, photo), ('a', 'b'), {'cnn': (map_, map_)}, {'cnn': 0.5})
        >>> figure = draw_pair_sheet([pair], 'Alike')
        >>> [text.get_text() for text in figure.texts if 'distance' in text.get_text()]
        ['distance 0.50']
    """
    rows = []
    for pair in pairs:
        for place in (0, 1):
            photo = pair.photos[place]
            panels = [MapPanel(photo)]
            for feature, maps in pair.maps.items():
                # Below both photos, whose distance it is.
                caption = f'distance {pair.distances[feature]:.2f}' if place else ''
                panels.append(relevance_panel(photo, maps[place], caption))
            rows.append(MapRow(pair.names[place], panels, opens_section=not place))
    return draw_map_grid(
        rows,
        title,
        protocol,
        unit=UNIT,
        column_titles=['photo', *(pairs[0].maps if pairs else ())],
        colormap=colormap,
    )
