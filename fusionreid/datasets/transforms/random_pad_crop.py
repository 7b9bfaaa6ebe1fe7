"""How far an image is shifted, and what fills the border."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform

from fusionreid.registry import TRANSFORMS


def _overlap(shift: int, length: int) -> tuple[slice, slice]:
    """Where pixels of a row that is shifted by less than its length arrive, and come from."""
    arrive = slice(max(shift, 0), length + min(shift, 0))
    return arrive, slice(arrive.start - shift, arrive.stop - shift)


@TRANSFORMS.register_module()
class RandomPadCrop(BaseTransform):
    """Pad an image with zeros on every side, then cut a window of its old size at random.

    Unlike the general ``RandomCrop`` it needs no size, so the input size stands in one place of
    the pipeline, ``Resize``.

    Args:
        padding: Pixels added on every side; the window moves by up to this many.

    Example:
        >>> np.random.seed(0)
        >>> image = np.ones((4, 2, 1), np.uint8)
        >>> RandomPadCrop(padding=1)(dict(img=image))['img'][..., 0].tolist()
        [[0, 0], [1, 1], [1, 1], [1, 1]]
    """

    def __init__(self, padding: int = 10) -> None:
        if padding < 0:
            raise ValueError(f'padding must be at least 0, but is {padding}')
        self.padding = padding

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Shift the image by a random offset.

        Args:
            results: With ``img`` of shape (H, W, C).

        Returns:
            With ``img`` of the same shape.
        """
        image, padding = results['img'], self.padding
        height, width = image.shape[:2]
        down, right = (padding - np.random.randint(0, 2 * padding + 1, size=2)).tolist()
        # The window alone, without the padded image around it.
        shifted = np.zeros_like(image)
        if abs(down) < height and abs(right) < width:
            target_rows, source_rows = _overlap(down, height)
            target_columns, source_columns = _overlap(right, width)
            shifted[target_rows, target_columns] = image[source_rows, source_columns]
        results['img'] = shifted
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(padding={self.padding})'
