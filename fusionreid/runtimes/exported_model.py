"""An exported model in the place of the one that it was made from."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fusionreid.errors import ExportError
from fusionreid.structures import ReIDDataSample

from .base import UNKNOWN_CAMERA, Runtime

EMBEDDING = 'embedding'


class ExportedModel(nn.Module):
    """Does with an exported model what testing and extraction do with a model.

    Without outputs of their own the features are the parts of the embedding: the model's up to one
    factor per image, which neither normalization nor any score depends on.

    Args:
        runtime: What runs the exported model.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, runtime: Runtime) -> None:
        super().__init__()
        self.runtime = runtime
        manifest = runtime.manifest
        self.feature_widths: dict[str, int] = dict(manifest.features)
        self.num_cameras = manifest.cameras
        self.use_cameras = manifest.cameras > 0
        self.protocol = str(manifest.spec.get('protocol', ''))
        self.input_size = manifest.input_size
        for name, values in (('mean', manifest.mean), ('std', manifest.std)):
            self.register_buffer(name, torch.tensor(values).view(-1, 1, 1), persistent=False)

    @torch.no_grad()
    def test_step(self, data: dict[str, Any]) -> list[ReIDDataSample]:
        """Compute the features of a batch.

        Args:
            data: ``inputs``, uint8 images of shape (3, H, W), and ``data_samples``.

        Returns:
            The data samples, each with its features of shape ``(D,)``, float32, by name.

        Raises:
            ExportError: If the images have another size than the model takes.
        """
        images: Tensor = torch.stack(list(data['inputs'])).cpu()
        samples: list[ReIDDataSample] = data['data_samples']
        size = images.shape[2], images.shape[3]
        if size != self.input_size:
            raise ExportError(
                f'{self.runtime.folder} takes images of (height, width) {self.input_size}, the '
                f'pipeline gives {size}: take the config that it was exported with'
            )
        if self.runtime.manifest.raw_input == 'float':
            images = (images - self.mean) / self.std
        cameras = torch.tensor([sample.get('camera_id', UNKNOWN_CAMERA) for sample in samples])
        outputs = self.runtime(images, cameras)
        parts = outputs[EMBEDDING].split(list(self.feature_widths.values()), 1)
        features = dict(zip(self.feature_widths, parts, strict=True))
        features.update({name: value for name, value in outputs.items() if name != EMBEDDING})
        for row, sample in enumerate(samples):
            sample.features = {name: feature[row] for name, feature in features.items()}
            sample.set_metainfo(dict(feature_protocol=self.protocol))
        return samples
