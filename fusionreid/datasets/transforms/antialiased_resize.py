"""Resizing as Pillow does, faster where PyTorch's kernel gives the same pixels.

Which interpolation is used is decided by the pipelines of ``configs/_base_/datasets/reid.py``:
bicubic for training, bilinear for testing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from PIL import Image
from torch.nn import functional as F

from fusionreid.registry import TRANSFORMS

INTERPOLATIONS = ('bicubic', 'bilinear')
# Rows and columns of a doubled image whose bicubic filter (4 pixels of the old image wide) reaches
# beyond the edge; they depend on as many of the old image.
EDGE = 3


def resize_image(image: np.ndarray, size: tuple[int, int], interpolation: str) -> np.ndarray:
    """Resize an image exactly as Pillow does, whose filters widen when they shrink an image.

    Pillow itself computes it, unless both sides double, as those of Market-1501's images do for an
    input of 256x128: that is done several times faster, with the same result.

    Args:
        image: uint8 of shape (H, W, 3).
        size: New height and width.
        interpolation: ``'bicubic'`` or ``'bilinear'``.

    Returns:
        uint8 of shape (*size, 3), contiguous and writable.

    Example:
        >>> resize_image(np.zeros((128, 64, 3), np.uint8), (256, 128), 'bicubic').shape
        (256, 128, 3)
    """
    height, width = image.shape[:2]
    if size == (2 * height, 2 * width) and min(height, width) >= 2 * EDGE:
        return _double(image, interpolation)
    return _resize_by_pillow(image, size, interpolation)


def _resize_by_pillow(image: np.ndarray, size: tuple[int, int], interpolation: str) -> np.ndarray:
    method = Image.Resampling[interpolation.upper()]
    return np.array(Image.fromarray(image).resize(size[::-1], method))


def _double(image: np.ndarray, interpolation: str) -> np.ndarray:
    """Double both sides with PyTorch's vectorized kernel, where that is exact.

    Both libraries filter rows, then columns, in integers, and round in the same way; PyTorch's
    weights have 16 bits, Pillow's 23. Weights for doubling are multiples of 1/128 (bicubic) or 1/4
    (bilinear), which both hold exactly. Only where the edge cuts a bicubic filter off and its
    weights are normalized anew they are not: these few rows and columns are Pillow's.
    """
    height, width = 2 * image.shape[0], 2 * image.shape[1]
    pixels = torch.from_numpy(np.require(image, requirements=['C', 'W']))[None].permute(0, 3, 1, 2)
    resized = F.interpolate(pixels, (height, width), mode=interpolation, antialias=True)
    doubled = np.ascontiguousarray(resized[0].permute(1, 2, 0).numpy())
    if interpolation == 'bicubic':
        # Opposite edges in one image: at each of its ends it looks like the whole one.
        rows = np.concatenate((image[:EDGE], image[-EDGE:]))
        rows = _resize_by_pillow(rows, (4 * EDGE, width), interpolation)
        columns = np.concatenate((image[:, :EDGE], image[:, -EDGE:]), axis=1)
        columns = _resize_by_pillow(columns, (height, 4 * EDGE), interpolation)
        doubled[:EDGE], doubled[-EDGE:] = rows[:EDGE], rows[-EDGE:]
        doubled[:, :EDGE], doubled[:, -EDGE:] = columns[:, :EDGE], columns[:, -EDGE:]
    return doubled


@TRANSFORMS.register_module()
class AntialiasedResize(BaseTransform):
    """Resize ``results['img']`` to a fixed size as Pillow does, see :func:`resize_image`.

    Args:
        scale: New width and height in pixels, in mmcv's order.
        interpolation: ``'bicubic'`` or ``'bilinear'``.

    Raises:
        ValueError: If the scale is not two positive numbers or the interpolation is unknown.

    Example:
        >>> results = AntialiasedResize((128, 256))(dict(img=np.zeros((128, 64, 3), np.uint8)))
        >>> results['img'].shape, results['img_shape']
        ((256, 128, 3), (256, 128))
    """

    def __init__(self, scale: tuple[int, int], interpolation: str = 'bilinear') -> None:
        if len(scale) != 2 or min(scale) < 1:
            raise ValueError(f'scale must be a positive width and height, but is {scale!r}')
        if interpolation not in INTERPOLATIONS:
            raise ValueError(
                f'interpolation must be one of {", ".join(INTERPOLATIONS)}, but is '
                f"{interpolation!r}; for others take mmcv's Resize"
            )
        width, height = scale
        self.scale = (width, height)
        self.interpolation = interpolation

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Resize the image.

        Args:
            results: With ``img``, uint8 of shape (H, W, 3).

        Returns:
            With ``img`` and ``img_shape`` (H, W) of the new size.

        Raises:
            ValueError: If ``img`` has another type or shape.
        """
        image = results['img']
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(
                f'AntialiasedResize expects a uint8 image of shape (H, W, 3), but got '
                f'{image.dtype} of shape {image.shape}'
            )
        width, height = self.scale
        size = (height, width)
        results['img'] = resize_image(image, size, self.interpolation)
        results['img_shape'] = size
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(scale={self.scale}, interpolation={self.interpolation!r})'
