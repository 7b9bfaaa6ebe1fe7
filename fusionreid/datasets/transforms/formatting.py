"""What a pipeline hands to the model: which fields of a sample, and in which type."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform

from fusionreid.registry import TRANSFORMS
from fusionreid.structures import ReIDDataSample

_OPTIONAL_KEYS = (
    'img_path',
    'role',
    'sample_idx',
    'clothes_id',
    'tracklet_id',
    'set_id',
    'ori_shape',
    'augment_seed',
)


@TRANSFORMS.register_module()
class PackReIDInputs(BaseTransform):
    """Turn the pipeline's results into what a model takes: an image tensor and a data sample.

    The image stays uint8 and RGB: normalization and random erasing follow on the device.

    Example:
        >>> packed = PackReIDInputs()(dict(img=np.zeros((4, 2, 3), np.uint8), person_id=7))
        >>> sample = packed['data_samples']
        >>> packed['inputs'].shape, sample.person_id, sample.camera_id
        (torch.Size([3, 4, 2]), 7, -1)
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Pack one sample.

        Args:
            results: With ``img``, uint8 of shape (H, W, 3). ``person_id`` and
                ``camera_id`` may be missing, as for an image to search with.

        Returns:
            ``inputs``, a contiguous uint8 tensor of shape (3, H, W), and ``data_samples``,
            a ``ReIDDataSample``; a missing person or camera id becomes -1.

        Raises:
            ValueError: If ``img`` has another type or shape.
        """
        image = results['img']
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(
                f'PackReIDInputs expects a uint8 image of shape (H, W, 3), but got '
                f'{image.dtype} of shape {image.shape}'
            )
        sample = ReIDDataSample()
        # Field by field: the constructor's `metainfo` would be copied deeply, which takes longer.
        for key in _OPTIONAL_KEYS:
            if key in results:
                sample.set_field(results[key], key, field_type='metainfo')
        sample.set_field(results.get('person_id', -1), 'person_id', field_type='metainfo')
        sample.set_field(results.get('camera_id', -1), 'camera_id', field_type='metainfo')
        sample.set_field(image.shape[:2], 'img_shape', field_type='metainfo')
        planes = np.empty((3, *image.shape[:2]), np.uint8)
        cv2.split(image, list(planes))
        return {'inputs': torch.from_numpy(planes), 'data_samples': sample}
