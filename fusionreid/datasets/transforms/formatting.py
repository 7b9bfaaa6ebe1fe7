from __future__ import annotations

import numpy as np
import torch
from mmcv.transforms import BaseTransform

from fusionreid.registry import TRANSFORMS
from fusionreid.structures import ReIDDataSample

_OPTIONAL_KEYS = ('img_path', 'role', 'sample_idx', 'ori_shape', 'augment_seed')


@TRANSFORMS.register_module()
class PackReIDInputs(BaseTransform):
    """Turn the pipeline's results into what a model takes: an image tensor and a data sample.

    The image stays uint8 and RGB: normalisation and random erasing follow on the device.
    """

    def transform(self, results: dict) -> dict:
        """Pack one sample.

        Args:
            results (dict): With ``img``, uint8 of shape (H, W, 3). ``person_id`` and
                ``camera_id`` may be missing, as for an image to search with.

        Returns:
            dict: ``inputs``, a contiguous uint8 tensor of shape (3, H, W), and ``data_samples``,
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
        metainfo = {key: results[key] for key in _OPTIONAL_KEYS if key in results}
        metainfo['person_id'] = results.get('person_id', -1)
        metainfo['camera_id'] = results.get('camera_id', -1)
        metainfo['img_shape'] = image.shape[:2]
        return {
            'inputs': torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))),
            'data_samples': ReIDDataSample(metainfo=metainfo),
        }
