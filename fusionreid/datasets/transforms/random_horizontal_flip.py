"""Mirroring images at random."""

from __future__ import annotations

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
        prob (float): Share of the images that are mirrored, in [0, 1].

    Raises:
        ValueError: If ``prob`` is out of range.
    """

    def __init__(self, prob: float = 0.5) -> None:
        if not 0 <= prob <= 1:
            raise ValueError(f'prob must be in [0, 1], but is {prob!r}')
        self.prob = prob

    def transform(self, results: dict) -> dict:
        """Mirror the image or leave it.

        Args:
            results (dict): With ``img`` of shape (H, W, C).

        Returns:
            dict: With ``img`` of the same shape, and ``flip``, whether it was mirrored.
        """
        results['flip'] = bool(np.random.random_sample() < self.prob)
        if results['flip']:
            results['img'] = cv2.flip(results['img'], 1)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(prob={self.prob})'
