"""Which images are mirrored, and how their pixels lie in memory afterwards."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from fusionreid.registry import TRANSFORMS


@TRANSFORMS.register_module()
class RandomHorizontalFlip(BaseTransform):
    """Mirror an image at random.

    It draws as mmcv's ``RandomFlip`` does, so the same images are mirrored, but hands on pixels in
    order: a reversed view makes every copy that follows many times slower.

    Args:
        prob: Share of the images that are mirrored, in [0, 1].

    Raises:
        ValueError: If ``prob`` is out of range.

    Example:
        >>> image = np.arange(6, dtype=np.uint8).reshape(1, 2, 3)
        >>> RandomHorizontalFlip(prob=1)(dict(img=image))['img'].tolist()
        [[[3, 4, 5], [0, 1, 2]]]
    """

    def __init__(self, prob: float = 0.5) -> None:
        if not 0 <= prob <= 1:
            raise ValueError(f'prob must be in [0, 1], but is {prob!r}')
        self.prob = prob

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Mirror the image or leave it.

        Args:
            results: With ``img`` of shape (H, W, C).

        Returns:
            With ``img`` of the same shape, and ``flip``, whether it was mirrored.
        """
        results['flip'] = bool(np.random.random_sample() < self.prob)
        if results['flip']:
            results['img'] = cv2.flip(results['img'], 1)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(prob={self.prob})'
