"""BNNeck and classifier of one feature, and the losses that supervise it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional as F

from fusionreid.errors import ConfigError
from fusionreid.registry import MODELS

from .batch_labels import Features, batch_ids, fill_features, last_feature


class BNNeck(nn.BatchNorm1d):
    """Batch normalization between the metric and the classification space.

    From "Bag of Tricks" (arXiv 1903.07071). Its bias stays at 0, so that the classifier's
    hyperplanes pass through the origin. A training batch of a single image has no statistics of its
    own and is normalized by the running ones.

    Args:
        num_features: Width D of the feature.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__(num_features)
        self.bias.requires_grad_(False)

    def forward(self, features: Tensor) -> Tensor:
        """Normalize features.

        Args:
            features: Features of shape ``(B, D)``.

        Returns:
            Normalized features of shape ``(B, D)``.
        """
        if self.training and features.shape[0] == 1:
            return F.batch_norm(
                features,
                self.running_mean,
                self.running_var,
                self.weight,
                self.bias,
                False,
                0.0,
                self.eps,
            )
        return super().forward(features)


@MODELS.register_module()
class BNNeckHead(BaseModule):
    """Supervises one feature: triplet loss before a BNNeck, ID loss on a classifier after it.

    The classifier has no bias. It works in mmpretrain's models as well: there it takes the tuple
    that a neck gives and data samples with ``gt_label``.

    Args:
        in_channels: Width D of the feature.
        num_classes: Identities in the training set.
        loss_id: Config of the ID loss; called with scores ``(B, num_classes)`` and identities
            ``(B,)``.
        loss_triplet: Config of the triplet loss; called with features ``(B, D)`` and identities
            ``(B,)``.

    Raises:
        ConfigError: If ``num_classes`` is not set or not positive.

    Example:
        >>> head = BNNeckHead(in_channels=8, num_classes=3)
        >>> features, ids = torch.rand(4, 8), torch.tensor([0, 0, 2, 2])
        >>> head(features).shape
        torch.Size([4, 8])
        >>> sorted(head.loss(features, ids))
        ['loss_id', 'loss_triplet']
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int | None,
        loss_id: dict[str, Any] | None = None,
        loss_triplet: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if num_classes is None or num_classes < 1:
            raise ConfigError(
                f'num_classes must be the number of training identities, got {num_classes}: set '
                'it in the config or by, e.g., --cfg-options model.head.num_classes=751'
            )
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.bnneck = BNNeck(in_channels)
        self.classifier = nn.Linear(in_channels, num_classes, bias=False)
        nn.init.normal_(self.classifier.weight, std=0.001)
        self.loss_id = MODELS.build(loss_id or dict(type='fusionreid.IDLoss'))
        self.loss_triplet = MODELS.build(
            loss_triplet or dict(type='fusionreid.BatchHardTripletLoss')
        )

    def forward(self, features: Features) -> Tensor:
        """Pass features through the BNNeck.

        Args:
            features: Features of shape ``(B, D)``, or a tuple of which the last is taken.

        Returns:
            Features after the BNNeck, of shape ``(B, D)``.
        """
        return self.bnneck(last_feature(features))

    def pre_logits(self, features: Features) -> Tensor:
        """Compute what the classifier takes, as mmpretrain's heads call it.

        Args:
            features: As for :meth:`forward`.

        Returns:
            Features after the BNNeck, of shape ``(B, D)``.
        """
        return self(features)

    def loss(self, features: Features, targets: Tensor | Sequence[Any]) -> dict[str, Tensor]:
        """Compute both losses, in float32 where the features are in half precision.

        Args:
            features: Features before the BNNeck, of shape ``(B, D)``, or a tuple of which the last
                is taken.
            targets: Training identities of shape ``(B,)``, in ``[0, num_classes)``; or the batch's
                data samples, with ``person_id`` or mmpretrain's ``gt_label``.

        Returns:
            ``loss_id`` and ``loss_triplet``, scalars.

        Raises:
            ValueError: If a data sample has no single identity, or one that is out of range.
        """
        features = last_feature(features)
        ids = batch_ids(targets, self.num_classes, features.device)
        scores = self.classifier(self.bnneck(features))
        with torch.autocast(features.device.type, enabled=False):
            scores, features = (
                value.to(torch.promote_types(value.dtype, torch.float32))
                for value in (scores, features)
            )
            return dict(
                loss_id=self.loss_id(scores, ids), loss_triplet=self.loss_triplet(features, ids)
            )

    def predict(
        self, features: Features, data_samples: Sequence[Any] | None = None
    ) -> Sequence[Any]:
        """Fill the data samples of mmpretrain's models.

        Args:
            features: Features before the BNNeck, of shape ``(B, D)``, or a tuple of which the last
                is taken.
            data_samples: The images' data samples; None for new ones.

        Returns:
            The data samples, each with ``features``, float32 and before the BNNeck, under the name
            ``feature``; and with ``pred_score`` and ``pred_label`` of the training identities.
        """
        features = last_feature(features)
        scores = self.classifier(self.bnneck(features)).float().softmax(1)
        samples = fill_features(dict(feature=features), data_samples)
        for sample, score in zip(samples, scores, strict=True):
            sample.set_field(score, 'pred_score')
            sample.set_field(score.argmax(keepdim=True), 'pred_label')
        return samples
