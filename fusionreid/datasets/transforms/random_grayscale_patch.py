"""A random rectangle, or all of an image, without color."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from fusionreid.registry import TRANSFORMS
from fusionreid.utils.random_box import check_boxes, sample_erasing_box


@TRANSFORMS.register_module()
class RandomGrayscalePatch(BaseTransform):
    """Turn a random rectangle gray, or the whole image, so that color alone is not relied on.

    From "Eliminate Deviation with Deviation for Data Augmentation" (arXiv 2101.08533).

    Args:
        prob: Share of the images with a gray rectangle, in [0, 1].
        whole_prob: Share of the images that are gray as a whole, in [0, 1].
        area: Smallest and largest share of the image that the rectangle takes.
        aspect: Smallest and largest height over width of the rectangle.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> np.random.seed(0)
        >>> image = np.full((4, 2, 3), (200, 0, 0), np.uint8)
        >>> RandomGrayscalePatch(prob=0, whole_prob=1)(dict(img=image))['img'][0, 0].tolist()
        [60, 60, 60]
    """

    def __init__(
        self,
        prob: float = 0.4,
        whole_prob: float = 0.05,
        area: tuple[float, float] = (0.02, 0.4),
        aspect: tuple[float, float] = (0.3, 1 / 0.3),
    ) -> None:
        check_boxes('RandomGrayscalePatch', area, aspect, prob=prob, whole_prob=whole_prob)
        self.prob, self.whole_prob = prob, whole_prob
        self.area, self.aspect = area, aspect

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Take color from a part of the image, from all of it, or leave it.

        Args:
            results: With ``img``, uint8 RGB of shape (H, W, 3).

        Returns:
            With ``img`` of the same shape.
        """
        image = results['img']
        rows, columns = image.shape[:2]
        # NumPy's global generator is that of this image's seed; boxes are drawn from a new one.
        generator = np.random.default_rng(np.random.randint(2**31))
        box = None
        if generator.random() < self.whole_prob:
            box = (0, 0, rows, columns)
        elif generator.random() < self.prob:
            box = sample_erasing_box(generator, rows, columns, self.area, self.aspect)
        if box is not None:
            top, left, height, width = box
            part = (slice(top, top + height), slice(left, left + width))
            results['img'] = image = image.copy()  # a cache may hold the old one
            image[part] = cv2.cvtColor(image[part], cv2.COLOR_RGB2GRAY)[..., None]
        return results

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(prob={self.prob}, whole_prob={self.whole_prob}, '
            f'area={self.area}, aspect={self.aspect})'
        )
