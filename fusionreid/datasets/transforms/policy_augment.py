"""Augmentation by policies that were found by search or at random: AutoAugment, RandAugment."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from PIL import Image

from fusionreid.registry import TRANSFORMS


@TRANSFORMS.register_module()
class PolicyAugment(BaseTransform):
    """Augment an image by a policy of timm: AutoAugment, RandAugment or AugMix.

    Args:
        policy: A policy as timm names it: ``'original'`` is AutoAugment as published for ImageNet,
            ``'rand-m9-mstd0.5-inc1'`` RandAugment of magnitude 9, ``'augmix-m3-w3'`` AugMix.
        prob: Share of the images that are augmented, in [0, 1]. Person re-identification uses
            AutoAugment on a tenth of them.

    Raises:
        ValueError: If ``prob`` is out of range, or timm has no such policy.
    """

    def __init__(self, policy: str = 'original', prob: float = 0.1) -> None:
        from timm.data import auto_augment as timm_policies  # takes a second

        if not 0 <= prob <= 1:
            raise ValueError(f'prob must be in [0, 1], but is {prob!r}')
        makers = dict(
            rand=timm_policies.rand_augment_transform,
            augmix=timm_policies.augment_and_mix_transform,
        )
        make = makers.get(policy.split('-')[0], timm_policies.auto_augment_transform)
        try:
            # Black where an image is moved away from, as RandomPadCrop has it.
            self._augment = make(policy, dict(img_mean=(0, 0, 0)))
        except AssertionError as error:
            raise ValueError(f'timm has no policy {policy!r}: {error or "see its docs"}') from error
        self.policy = policy
        self.prob = prob

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Augment the image or leave it.

        Args:
            results: With ``img``, uint8 RGB of shape (H, W, 3).

        Returns:
            With ``img`` of the same shape.
        """
        if np.random.random_sample() < self.prob:
            results['img'] = np.array(self._augment(Image.fromarray(results['img'])))
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(policy={self.policy!r}, prob={self.prob})'
