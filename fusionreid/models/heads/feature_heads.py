"""A head for each of several named features, for models that have a single head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.model import BaseModule, ModuleDict
from torch import Tensor

from fusionreid.registry import MODELS

from .batch_labels import batch_ids, fill_features


@MODELS.register_module()
class FeatureHeads(BaseModule):
    """The head of an mmpretrain model whose neck gives several features by name.

    Args:
        in_channels: Width of each feature by name, as the neck's ``out_channels``.
        head: Config of a head, built once for each feature with its width.

    Example:
        >>> import torch
        >>> heads = FeatureHeads(dict(a=8, b=6), dict(type='fusionreid.BNNeckHead', num_classes=3))
        >>> features = dict(a=torch.rand(4, 8), b=torch.rand(4, 6))
        >>> sorted(heads.loss(features, torch.tensor([0, 0, 2, 2])))
        ['a.loss_id', 'a.loss_triplet', 'b.loss_id', 'b.loss_triplet']
        >>> list(heads.predict(features)[0].features)
        ['a', 'b']
    """

    def __init__(self, in_channels: dict[str, int], head: dict[str, Any]) -> None:
        super().__init__()
        self.in_channels = dict(in_channels)
        self.heads = ModuleDict(
            {
                name: MODELS.build({**head, 'in_channels': width})
                for name, width in self.in_channels.items()
            }
        )

    @property
    def num_classes(self) -> int:
        """Identities that the heads classify."""
        head: Any = next(iter(self.heads.values()))
        return head.num_classes

    def forward(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Pass each feature through its head.

        Args:
            features: Features of shape ``(B, D)`` by name.

        Returns:
            What the heads give, for :class:`BNNeckHead` the features after the BNNecks, by name.
        """
        return {name: head(features[name]) for name, head in self.heads.items()}

    def pre_logits(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Compute what the classifiers take, as mmpretrain's heads call it.

        Args:
            features: Features of shape ``(B, D)`` by name.

        Returns:
            Features after the BNNecks, by name.
        """
        return self(features)

    def loss(
        self, features: Mapping[str, Tensor], targets: Tensor | Sequence[Any]
    ) -> dict[str, Tensor]:
        """Compute the losses of all heads.

        Args:
            features: Features of shape ``(B, D)`` by name.
            targets: Identities of shape ``(B,)`` or the batch's data samples, as for
                :meth:`BNNeckHead.loss`.

        Returns:
            ``<feature>.<loss>`` of every feature, scalars.

        Raises:
            ValueError: If a data sample has no single identity, or one that is out of range.
        """
        device = next(iter(features.values())).device
        ids = batch_ids(targets, self.num_classes, device)
        losses = {}
        for name, head in self.heads.items():
            own: Any = head
            losses.update(
                {f'{name}.{key}': value for key, value in own.loss(features[name], ids).items()}
            )
        return losses

    def predict(
        self, features: Mapping[str, Tensor], data_samples: Sequence[Any] | None = None
    ) -> Sequence[Any]:
        """Fill the data samples of mmpretrain's models.

        Args:
            features: Features of shape ``(B, D)`` by name.
            data_samples: The images' data samples; None for new ones.

        Returns:
            The data samples, each with ``features`` by name, float32 and before the BNNecks.
        """
        return fill_features({name: features[name] for name in self.heads}, data_samples)
