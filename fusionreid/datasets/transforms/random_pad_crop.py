from __future__ import annotations

import numpy as np
from mmcv.transforms import BaseTransform

from fusionreid.registry import TRANSFORMS


@TRANSFORMS.register_module()
class RandomPadCrop(BaseTransform):
    """Pad an image with zeros on every side, then cut a window of its old size at random.

    Unlike the general ``RandomCrop`` it needs no size, so the input size stands in one place of
    the pipeline, ``Resize``.

    Args:
        padding (int): Pixels added on every side; the window moves by up to this many.
    """

    def __init__(self, padding: int = 10) -> None:
        if padding < 0:
            raise ValueError(f'padding must be at least 0, but is {padding}')
        self.padding = padding

    def transform(self, results: dict) -> dict:
        """Shift the image by a random offset.

        Args:
            results (dict): With ``img`` of shape (H, W, C).

        Returns:
            dict: With ``img`` of the same shape.
        """
        image, padding = results['img'], self.padding
        height, width, channels = image.shape
        padded = np.zeros((height + 2 * padding, width + 2 * padding, channels), image.dtype)
        padded[padding : padding + height, padding : padding + width] = image
        top, left = np.random.randint(0, 2 * padding + 1, size=2)
        results['img'] = padded[top : top + height, left : left + width]
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(padding={self.padding})'
