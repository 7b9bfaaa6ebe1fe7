"""One color scale for all maps of a picture, and photos seen through their maps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import Colormap
from PIL import Image

from fusionreid.errors import UserError

# Perceptually uniform: dark for little, light for much, in gray and for color-blind readers too.
DEFAULT_COLORMAP = 'inferno'
# The few values above share the last color, so that a single peak does not leave the rest dark.
QUANTILE = 0.995
# How much of the color is seen where there is nothing and where there is most; the rest is photo.
FAINTEST, STRONGEST = 0.45, 0.8
# Pixels.
SHARP_HEIGHT, FINEST_CELL = 256, 4


def find_colormap(name: str) -> Colormap:
    """Find a colormap.

    Args:
        name: Name that matplotlib knows it by.

    Returns:
        The colormap.

    Raises:
        UserError: If there is none of that name.

    Example:
        >>> find_colormap('viridis').name
        'viridis'
    """
    if name not in colormaps:
        raise UserError(
            f'there is no colormap {name!r}: take inferno, magma, viridis, cividis or another name '
            'of matplotlib'
        )
    return colormaps[name]


@dataclass(frozen=True)
class ColorScale:
    """From values to colors, the same for all maps of a picture.

    Attributes:
        top: Value of the last color; the first color is 0.
        colormap: The colors in between.
        clipped: Whether there are values above ``top``.
    """

    top: float
    colormap: Colormap = field(default_factory=lambda: colormaps[DEFAULT_COLORMAP])
    clipped: bool = False

    @classmethod
    def for_maps(cls, maps: Iterable[np.ndarray], colormap: str = DEFAULT_COLORMAP) -> ColorScale:
        """Make the scale of several maps.

        Args:
            maps: Maps of any shapes, not negative.
            colormap: Name of a colormap of matplotlib.

        Returns:
            A scale that ends where nearly all values of the maps do.

        Raises:
            UserError: If there is no such colormap.

        Example:
            >>> ColorScale.for_maps([np.full((2, 2), 3.0), np.zeros((4, 2))]).top
            3.0
        """
        values = np.concatenate([np.ravel(map_) for map_ in maps] or [np.zeros(1)])
        highest = float(values.max())
        top = float(np.quantile(values, QUANTILE)) or highest
        return cls(top or 1.0, find_colormap(colormap), highest > top)

    def color(self, map_: np.ndarray) -> np.ndarray:
        """Color a map.

        Args:
            map_: (H, W), not negative.

        Returns:
            (H, W, 3) in [0, 1].
        """
        return self.colormap(np.clip(map_ / self.top, 0, 1))[..., :3]

    def lay_over(self, photo: np.ndarray, map_: np.ndarray) -> np.ndarray:
        """Show a photo through its map: in gray, and in the colors of the map.

        Args:
            photo: uint8 of shape (H, W, 3), RGB.
            map_: (h, w), not negative, of the whole photo; on a coarser grid, each cell is seen.

        Returns:
            uint8 of shape (H', W', 3), RGB; a small photo is enlarged, so that cells have edges.
        """
        enlarged = max(1, -(-SHARP_HEIGHT // photo.shape[0]))
        size = (photo.shape[1] * enlarged, photo.shape[0] * enlarged)
        smooth = map_.shape[0] > photo.shape[0] / FINEST_CELL
        values = np.asarray(
            Image.fromarray(map_.astype(np.float32)).resize(
                size, Image.Resampling.BILINEAR if smooth else Image.Resampling.NEAREST
            )
        )
        share = FAINTEST + (STRONGEST - FAINTEST) * np.clip(values / self.top, 0, 1)[..., None]
        gray_photo = Image.fromarray(photo).convert('L').resize(size, Image.Resampling.LANCZOS)
        gray = np.asarray(gray_photo)[..., None] / 255
        mixed = share * self.color(values) + (1 - share) * gray
        return np.round(255 * mixed).astype(np.uint8)
