"""The computation that is exported: from pixels to one normalized embedding."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusionreid.models import FusionReID
from fusionreid.models.data_preprocessors import ReIDDataPreprocessor
from fusionreid.models.layers.side_information import UNKNOWN_CAMERA

from .free_batch import free_batch_size

EMBEDDING, IMAGES, CAMERAS = 'embedding', 'images', 'cameras'


class ExportGraph(nn.Module):
    """What an exported model computes.

    Args:
        model: The trained model, of which a copy is taken.
        features: Names of the features of the embedding, in its order.
        normalization: What is subtracted from the images and what they are then divided by, each
            of shape ``(3, 1, 1)``; None for images that are already normalized.
        takes_cameras: Whether there is an input ``cameras``; False takes the mean camera embedding
            for every image.
        named_outputs: Whether each feature is an output too.
        dtype: Type of the weights and of the computation between the inputs and the outputs.

    Example:
        >>> cnn = dict(
        ...     backbone=dict(type='fusionreid.ReIDResNet', depth=18),
        ...     pooling=dict(type='fusionreid.GeMPooling'),
        ... )
        >>> model = FusionReID(dict(cnn=cnn)).eval()
        >>> graph = ExportGraph(model, ['cnn'], takes_cameras=False)
        >>> graph(torch.zeros(2, 3, 64, 32)).shape
        torch.Size([2, 512])
    """

    pixel_mean: Tensor | None
    pixel_std: Tensor | None

    def __init__(
        self,
        model: FusionReID,
        features: Sequence[str],
        normalization: tuple[Tensor, Tensor] | None = None,
        takes_cameras: bool = True,
        named_outputs: bool = False,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        mean, std = normalization or (None, None)
        # Not 'mean', which torch.export calls the result of a mean, too.
        self.register_buffer('pixel_mean', mean)
        self.register_buffer('pixel_std', std)
        self.model = copy.deepcopy(model)
        self.model.compiled = False
        self.model.channels_last = False
        self.model.requires_grad_(False)
        free_batch_size(self.model)
        self.model.to('cpu', dtype)
        self.features = tuple(features)
        self.takes_cameras = takes_cameras
        self.named_outputs = named_outputs
        self.dtype = dtype
        self.eval()

    @property
    def input_names(self) -> list[str]:
        """Names of the inputs, in their order."""
        return [IMAGES, CAMERAS] if self.takes_cameras else [IMAGES]

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs, in their order."""
        return [EMBEDDING, *self.features] if self.named_outputs else [EMBEDDING]

    def forward(self, images: Tensor, cameras: Tensor | None = None) -> Tensor | tuple[Tensor, ...]:
        """Compute the embedding.

        Args:
            images: RGB images of shape ``(B, 3, H, W)``, uint8 or float32.
            cameras: 0-based cameras of shape ``(B,)``, int64. One that the model does not know, as
                -1, gives the mean camera embedding.

        Returns:
            The embedding of shape ``(B, D)``, float32, of norm 1; with named outputs also each
            feature as the model gives it, not normalized.
        """
        if self.pixel_mean is not None and self.pixel_std is not None:
            images = (images.float() - self.pixel_mean) / self.pixel_std
        if cameras is not None:
            is_known = (cameras >= 0) & (cameras < self.model.num_cameras)
            cameras = torch.where(is_known, cameras, UNKNOWN_CAMERA)
        computed = self.model.scored_features(images.to(self.dtype), cameras)
        features = tuple(computed[name] for name in self.features)
        embedding = F.normalize(torch.cat(features, 1))
        return (embedding, *features) if self.named_outputs else embedding


def pixel_statistics(model: FusionReID) -> tuple[Tensor, Tensor]:
    """Read how a model normalizes pixels.

    Args:
        model: The model.

    Returns:
        Mean and standard deviation, of shape ``(3, 1, 1)``, in [0, 255]; 0 and 1 where the model
        takes pixels as they are.
    """
    preprocessor = model.data_preprocessor
    if not isinstance(preprocessor, ReIDDataPreprocessor):
        return torch.zeros(3, 1, 1), torch.ones(3, 1, 1)
    mean, std = (
        value.detach().cpu().clone().expand(3, 1, 1).contiguous()
        for value in (preprocessor.mean, preprocessor.std)
    )
    return mean, std
