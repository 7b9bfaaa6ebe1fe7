"""Random brightness, contrast, saturation and hue."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from PIL import Image
from torchvision.transforms import functional

from fusionreid.registry import TRANSFORMS

_STEPS = dict(
    brightness=functional.adjust_brightness,
    contrast=functional.adjust_contrast,
    saturation=functional.adjust_saturation,
    hue=functional.adjust_hue,
)


@TRANSFORMS.register_module()
class RandomColorJitter(BaseTransform):
    """Change brightness, contrast, saturation and hue by random amounts, in random order.

    By torchvision's functions and NumPy's random numbers, which the seed of each image determines.
    mmpretrain's ``ColorJitter`` fails on NumPy 2 where the hue is to change.

    Args:
        brightness: Largest relative change, in [0, 1].
        contrast: Largest relative change, in [0, 1].
        saturation: Largest relative change, in [0, 1].
        hue: Largest change in turns of the color circle, in [0, 0.5].
        prob: Share of the images that are changed, in [0, 1].

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> gray = np.full((1, 1, 3), 90, np.uint8)  # which has no hue
        >>> RandomColorJitter(hue=0.5, prob=1)(dict(img=gray))['img'].tolist()
        [[[90, 90, 90]]]
    """

    def __init__(
        self,
        brightness: float = 0.0,
        contrast: float = 0.0,
        saturation: float = 0.0,
        hue: float = 0.0,
        prob: float = 0.5,
    ) -> None:
        self.largest = dict(
            brightness=brightness, contrast=contrast, saturation=saturation, hue=hue
        )
        for name, value in dict(self.largest, prob=prob).items():
            highest = 0.5 if name == 'hue' else 1
            if not 0 <= value <= highest:
                raise ValueError(f'{name} must be in [0, {highest}], but is {value!r}')
        self.prob = prob

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Change the image or leave it.

        Args:
            results: With ``img``, uint8 RGB of shape (H, W, 3).

        Returns:
            With ``img`` of the same shape.
        """
        if np.random.random_sample() >= self.prob:
            return results
        image = Image.fromarray(results['img'])
        for name in np.random.permutation(list(_STEPS)):
            if largest := self.largest[name]:
                unchanged = 0 if name == 'hue' else 1
                image = _STEPS[name](image, unchanged + np.random.uniform(-largest, largest))
        results['img'] = np.array(image)
        return results

    def __repr__(self) -> str:
        amounts = ', '.join(f'{name}={value}' for name, value in self.largest.items())
        return f'{type(self).__name__}({amounts}, prob={self.prob})'
