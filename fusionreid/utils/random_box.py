"""Random rectangles in images."""

from __future__ import annotations

import math

import numpy as np

MAX_TRIES = 100


def check_boxes(
    what: str,
    area: tuple[float, float],
    aspect: tuple[float, float],
    **probabilities: float,
) -> None:
    """Refuse settings that no rectangle can be drawn with.

    Args:
        what: What the rectangles are for.
        area: Smallest and largest share of the image area.
        aspect: Smallest and largest height over width.
        **probabilities: By name.

    Raises:
        ValueError: Naming the setting and its range.

    Example:
        >>> check_boxes('random erasing', (0.1, 0.2), (0.3, 3), probability=2)
        Traceback (most recent call last):
        ValueError: probability of random erasing must be in [0, 1], got 2
    """
    for name, probability in probabilities.items():
        if not 0 <= probability <= 1:
            raise ValueError(f'{name} of {what} must be in [0, 1], got {probability!r}')
    for name, (low, high), largest in (('area', area, 1), ('aspect', aspect, math.inf)):
        if not 0 < low <= high <= largest:
            raise ValueError(
                f'{name} of {what} must be a smallest and a largest value above 0'
                f'{" and at most 1" if largest == 1 else ""}, got {(low, high)}'
            )


def sample_erasing_box(
    generator: np.random.Generator,
    height: int,
    width: int,
    area: tuple[float, float],
    aspect: tuple[float, float],
) -> tuple[int, int, int, int] | None:
    """Draw a rectangle inside an image, as random erasing does (arXiv 1708.04896).

    Args:
        generator: Source of randomness.
        height: Image height in pixels.
        width: Image width in pixels.
        area: Smallest and largest share of the image area.
        aspect: Smallest and largest height over width; drawn uniformly.

    Returns:
        Top, left, height and width in pixels, or None if no draw fitted.

    Example:
        >>> sample_erasing_box(np.random.default_rng(0), 256, 128, (0.02, 0.33), (0.3, 3.3))
        (51, 2, 89, 80)
    """
    for _ in range(MAX_TRIES):
        target = generator.uniform(*area) * height * width
        ratio = generator.uniform(*aspect)
        box_height = round(math.sqrt(target * ratio))
        box_width = round(math.sqrt(target / ratio))
        if 0 < box_height < height and 0 < box_width < width:
            top = int(generator.integers(0, height - box_height + 1))
            left = int(generator.integers(0, width - box_width + 1))
            return top, left, box_height, box_width
    return None
