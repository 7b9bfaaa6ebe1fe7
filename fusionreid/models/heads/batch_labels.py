"""What heads take and give: a neck's outputs, and the data samples of a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmpretrain.structures import DataSample
from torch import Tensor

Features = Tensor | Sequence[Tensor]


def last_feature(features: Features) -> Tensor:
    """Take the feature that a head works on.

    Args:
        features: A feature ``(B, D)``, or the tuple that backbones and necks of mmpretrain give.

    Returns:
        The feature; of several the last.

    Example:
        >>> last_feature((torch.zeros(2, 4), torch.zeros(2, 8))).shape
        torch.Size([2, 8])
    """
    return features if isinstance(features, Tensor) else features[-1]


def list_ids(data_samples: Sequence[Any] | None, num_classes: int) -> list[int]:
    """List the training identities of a batch.

    Args:
        data_samples: The batch's data samples, with ``person_id`` as in ours, or ``gt_label`` as in
            mmpretrain's.
        num_classes: Identities in the training set.

    Returns:
        An identity for each sample.

    Raises:
        ValueError: If a sample has no single identity, or one outside ``[0, num_classes)``.

    Example:
        >>> from mmpretrain.structures import DataSample
        >>> list_ids([DataSample().set_gt_label(2), DataSample().set_gt_label(0)], 3)
        [2, 0]
    """
    if not data_samples:
        raise ValueError('training needs data samples with identities')
    ids = [_identity(sample) for sample in data_samples]
    for person, sample in zip(ids, data_samples, strict=True):
        if not 0 <= person < num_classes:
            raise ValueError(
                f'identity {person} of {sample.get("img_path", "an image")} is outside [0, '
                f'{num_classes}): set num_classes of the head to the number of training identities'
            )
    return ids


def batch_ids(
    targets: Tensor | Sequence[Any], num_classes: int, device: torch.device | str
) -> Tensor:
    """Read the training identities of a batch.

    Args:
        targets: Identities ``(B,)``, or data samples as for :func:`list_ids`.
        num_classes: Identities in the training set.
        device: Where they are needed.

    Returns:
        Identities of shape ``(B,)``.

    Raises:
        ValueError: As :func:`list_ids` does.
    """
    if isinstance(targets, Tensor):
        return targets
    return torch.tensor(list_ids(targets, num_classes), device=device)


def _identity(sample: Any) -> int:
    if sample.get('gt_score') is not None:
        raise ValueError(
            'the data samples have gt_score, as of Mixup or CutMix, but a triplet loss needs a '
            'single identity for each image: leave out batch augmentations that mix images'
        )
    label = sample.get('gt_label')
    if label is None:
        label = sample.get('person_id', -1)
    if isinstance(label, Tensor):
        if label.numel() != 1:
            raise ValueError(f'gt_label must be a single identity, got {label.tolist()}')
        label = label.item()
    return int(label)


def fill_features(
    features: Mapping[str, Tensor], data_samples: Sequence[Any] | None
) -> Sequence[Any]:
    """Put features that no BNNeck has normalized into data samples, for ``ReIDMetric``.

    Args:
        features: Features of shape ``(B, D)`` by name.
        data_samples: The images' data samples; None for new ones of mmpretrain.

    Returns:
        The data samples, with ``features``, float32, and ``feature_protocol``.
    """
    if data_samples is None:
        count = len(next(iter(features.values())))
        data_samples = [DataSample() for _ in range(count)]
    for row, sample in enumerate(data_samples):
        own = {name: feature[row].float() for name, feature in features.items()}
        sample.set_field(own, 'features', dtype=None)
        sample.set_metainfo(dict(feature_protocol='features before BNNeck, no SIE'))
    return data_samples
