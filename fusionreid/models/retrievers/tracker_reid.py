"""The model as mmdet's trackers call it: crops in, one vector for each of them out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from fusionreid.registry import MODELS, WEIGHT_INITIALIZERS
from fusionreid.structures import ReIDDataSample

from .fusionreid import FeatureDict, FusionReID


@MODELS.register_module()
class TrackerReID(FusionReID):
    """A :class:`FusionReID` that gives mmdet's trackers what they ask of a ``reid`` model.

    Trackers call ``model.reid(crops, mode='tensor')`` for a tensor ``(N, C)``, and read
    ``model.reid.head.out_channels`` when there is no crop. Everything else is as in
    :class:`FusionReID`; a checkpoint of the one fits the other.

    A tracker is not trained, so nothing would call ``init_weights``: weights that ``init_cfg``
    names are loaded when the model is built, all of them, and a file that does not fit is refused.

    Args:
        feature: Name of the feature, or ``'all'`` for all of them side by side. Defaults to
            ``'all'``.
        **settings: Settings of :class:`FusionReID`.

    Raises:
        ValueError: If there is no such feature, or :class:`FusionReID` refuses a setting.

    Example:
        >>> cnn = dict(
        ...     backbone=dict(type='fusionreid.ReIDResNet', depth=18),
        ...     pooling=dict(type='fusionreid.GeMPooling'),
        ... )
        >>> reid = TrackerReID(branches=dict(cnn=cnn)).eval()
        >>> reid(torch.zeros(2, 3, 64, 32), mode='tensor').shape, reid.head.out_channels
        (torch.Size([2, 512]), 512)
        >>> reid(torch.zeros(0, 3, 64, 32), mode='tensor').shape
        torch.Size([0, 512])
    """

    def __init__(self, *, feature: str = 'all', **settings: Any) -> None:
        super().__init__(**settings)
        known = ['all', *self.feature_widths]
        if feature not in known:
            raise ValueError(f'feature {feature!r} is unknown: the model gives {known}')
        self.feature = feature
        if self.init_cfg:
            self.init_weights()

    def init_weights(self) -> None:
        """Load the weights that ``init_cfg`` names, with camera embeddings and heads.

        Raises:
            WeightsError: If they cannot be read or do not fit exactly.
        """
        if not self.init_cfg:
            super().init_weights()
        elif not super().is_init:
            settings = {**self.init_cfg, 'type': 'fusionreid.Pretrained', 'exact': True}
            WEIGHT_INITIALIZERS.build(settings)(self)
            self.is_init = True

    @property
    def head(self) -> SimpleNamespace:
        """What trackers read of a head: the width of the vectors, as ``out_channels``."""
        widths = self.feature_widths
        width = sum(widths.values()) if self.feature == 'all' else widths[self.feature]
        return SimpleNamespace(out_channels=width)

    def forward(  # type: ignore[override]
        self,
        inputs: Tensor,
        data_samples: list[ReIDDataSample] | None = None,
        mode: str = 'tensor',
    ) -> Tensor | FeatureDict | list[ReIDDataSample]:
        """Run the model.

        Args:
            inputs: Normalized crops of shape ``(N, 3, H, W)``.
            data_samples: As for :class:`FusionReID`.
            mode: As for :class:`FusionReID`, but for ``'tensor'``: L2-normalized vectors, made as
                :attr:`protocol` says.

        Returns:
            With ``'tensor'`` vectors of shape ``(N, C)``, float32.

        Raises:
            ValueError: As :class:`FusionReID` does.
        """
        if mode != 'tensor':
            return super().forward(inputs, data_samples, mode)
        if not len(inputs):
            return inputs.new_zeros((0, self.head.out_channels), dtype=torch.float32)
        features = self.scored_features(inputs, self._camera_ids(data_samples, inputs.device))
        if self.feature != 'all':
            return F.normalize(features[self.feature])
        return F.normalize(torch.cat(list(features.values()), dim=1))
