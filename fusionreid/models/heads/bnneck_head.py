"""BNNeck and classifier of one feature, and the losses that supervise it."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModule, ModuleDict
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

    It works in mmpretrain's models as well: there it takes the tuple that a neck gives and data
    samples with ``gt_label``.

    Args:
        in_channels: Width D of the feature.
        num_classes: Identities in the training set.
        loss_id: Config of the ID loss; called with scores ``(B, num_classes)`` and identities
            ``(B,)``. None for cross-entropy with label smoothing; False for no ID loss and no
            classifier.
        loss_triplet: Config of the triplet loss; called with features ``(B, D)`` and identities
            ``(B,)``. None for the batch-hard one; False for none.
        metric_losses: Configs of further losses by name, called like the triplet loss. A loss that
            takes ``num_classes`` or ``in_channels`` is given those of the head.
        classifier: Config of the classifier. None for a linear one without a bias.
        loss_weight: Factor of all losses of the feature. Defaults to 1.

    Raises:
        ConfigError: If ``num_classes`` is not set or not positive, or there is no loss.

    Example:
        >>> head = BNNeckHead(in_channels=8, num_classes=3)
        >>> features, ids = torch.rand(4, 8), torch.tensor([0, 0, 2, 2])
        >>> head(features).shape
        torch.Size([4, 8])
        >>> sorted(head.loss(features, ids))
        ['loss_id', 'loss_triplet']
        >>> margin = dict(type='fusionreid.CosFaceClassifier', margin=0.2)
        >>> further = dict(loss_center=dict(type='fusionreid.CenterLoss'))
        >>> BNNeckHead(8, 3, classifier=margin, metric_losses=further).loss_names
        ('loss_id', 'loss_triplet', 'loss_center')
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int | None,
        loss_id: dict[str, Any] | bool | None = None,
        loss_triplet: dict[str, Any] | bool | None = None,
        metric_losses: dict[str, dict[str, Any] | None] | None = None,
        classifier: dict[str, Any] | None = None,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        if num_classes is None or num_classes < 1:
            raise ConfigError(
                f'num_classes must be the number of training identities, got {num_classes}: set '
                'it in the config or by, e.g., --cfg-options model.head.num_classes=751'
            )
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.loss_weight = loss_weight
        self.bnneck = BNNeck(in_channels)
        self.classifier: nn.Module | None = None
        self.loss_id: nn.Module | None = None
        if loss_id is not False:
            self.classifier = self._build(classifier, 'fusionreid.LinearClassifier')
            self.loss_id = self._build(loss_id, 'fusionreid.IDLoss')
        else:
            self.bnneck.weight.requires_grad_(False)  # nothing would train it
        self.loss_triplet: nn.Module | None = None
        if loss_triplet is not False:
            self.loss_triplet = self._build(loss_triplet, 'fusionreid.BatchHardTripletLoss')
        self.metric_losses = ModuleDict(
            {
                name: self._build(loss)
                for name, loss in (metric_losses or {}).items()
                if loss is not None
            }
        )
        if not self.loss_names:
            raise ConfigError(
                'a BNNeckHead without loss_id, loss_triplet and metric_losses supervises nothing: '
                'give it a loss, or give the feature no head'
            )

    def _build(self, config: dict[str, Any] | bool | None, default: str = '') -> Any:
        """Build a part, with the width and the number of identities where it takes them."""
        if not isinstance(config, dict):
            config = dict(type=default)
        kind = config.get('type')
        part = MODELS.get(kind) if isinstance(kind, str) else kind
        known = dict(in_channels=self.in_channels, num_classes=self.num_classes)
        taken = inspect.signature(part).parameters if part is not None else {}
        return MODELS.build({**{k: v for k, v in known.items() if k in taken}, **config})

    @property
    def loss_names(self) -> tuple[str, ...]:
        """Names of the losses, in the order of the log."""
        slots = (name for name in ('loss_id', 'loss_triplet') if getattr(self, name) is not None)
        return (*slots, *self.metric_losses)

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
        """Compute the losses, in float32 where the features are in half precision.

        Args:
            features: Features before the BNNeck, of shape ``(B, D)``, or a tuple of which the last
                is taken.
            targets: Training identities of shape ``(B,)``, in ``[0, num_classes)``; or the batch's
                data samples, with ``person_id`` or mmpretrain's ``gt_label``.

        Returns:
            Scalars by name: ``loss_id``, ``loss_triplet``, and those of ``metric_losses``.

        Raises:
            ValueError: If a data sample has no single identity, or one that is out of range.
        """
        features = last_feature(features)
        ids = batch_ids(targets, self.num_classes, features.device)
        normalized = self.bnneck(features)  # always, since its statistics are learned here
        scores = None if self.classifier is None else self.classifier(normalized, ids)
        with torch.autocast(features.device.type, enabled=False):
            features = _at_least_float32(features)
            losses: dict[str, Tensor] = {}
            if self.loss_id is not None and scores is not None:
                losses['loss_id'] = self.loss_id(_at_least_float32(scores), ids)
            if self.loss_triplet is not None:
                losses['loss_triplet'] = self.loss_triplet(features, ids)
            for name, loss in self.metric_losses.items():
                losses[name] = loss(features, ids)
            if self.loss_weight == 1:
                return losses
            return {name: self.loss_weight * loss for name, loss in losses.items()}

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
            ``feature``; and, with a classifier, ``pred_score`` and ``pred_label`` of the training
            identities.
        """
        features = last_feature(features)
        samples = fill_features(dict(feature=features), data_samples)
        if self.classifier is None:
            return samples
        scores = self.classifier(self.bnneck(features)).float().softmax(1)
        for sample, score in zip(samples, scores, strict=True):
            sample.set_field(score, 'pred_score')
            sample.set_field(score.argmax(keepdim=True), 'pred_label')
        return samples


def _at_least_float32(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))
