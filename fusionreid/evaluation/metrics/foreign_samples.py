"""Samples of other projects, and plain tensors, as the metric takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from fusionreid.errors import ScoringError

from .feature_collector import REQUIRED

FIELDS = (*REQUIRED, 'features')


def check_keys(keys: Mapping[str, str | None]) -> dict[str, str | None]:
    """Check how fields of data samples are renamed.

    Args:
        keys: Their names by ours; None, which stands for unknown cameras, for ``camera_id`` alone.

    Returns:
        A copy.

    Raises:
        ValueError: If a name is none of ours, or another field is to be unknown.
    """
    for ours, theirs in keys.items():
        if ours not in FIELDS:
            raise ValueError(f'keys maps {", ".join(FIELDS)}, got {ours!r}')
        if not isinstance(theirs, str) and (theirs is not None or ours != 'camera_id'):
            raise ValueError(f'keys[{ours!r}] must be the name of a field, got {theirs!r}')
    return dict(keys)


def rename_keys(sample: Mapping[str, Any], keys: Mapping[str, str | None]) -> dict[str, Any]:
    """Rename the fields of a data sample.

    Args:
        sample: What a model gives for an image, as a dict.
        keys: As for :func:`check_keys`.

    Returns:
        The sample under our names. A single feature has the name of its field.

    Raises:
        ScoringError: If there is no such field.

    Example:
        >>> rename_keys(dict(gt_label=7, feats=torch.ones(2)), dict(features='feats'))
        {'gt_label': 7, 'feats': tensor([1., 1.]), 'features': {'feats': tensor([1., 1.])}}
    """
    renamed = dict(sample)
    for ours, theirs in keys.items():
        if theirs is None:
            renamed[ours] = -1
        elif sample.get(theirs) is None:
            path = sample.get(keys.get('img_path') or 'img_path', 'a sample')
            raise ScoringError(
                f'{path}: the sample has no {theirs!r} for {ours}; it has {", ".join(sample)}'
            )
        else:
            renamed[ours] = sample[theirs]
    if isinstance(renamed.get('features'), Tensor):
        renamed['features'] = {keys.get('features') or 'features': renamed['features']}
    return renamed


def list_samples(
    features: Tensor | Mapping[str, Tensor],
    person_ids: Tensor | Sequence[int],
    camera_ids: Tensor | Sequence[int] | None,
    role: str | Sequence[str],
    img_paths: Sequence[str] | None,
    first: int,
) -> list[dict[str, Any]]:
    """Make samples of a batch of plain tensors.

    Args:
        features: Features of shape (B, D), or several by name.
        person_ids: (B,) identities.
        camera_ids: (B,) cameras; None for unknown ones.
        role: Role of all images, or of each.
        img_paths: Names of the images; None numbers them.
        first: Number of the first sample.

    Returns:
        A dict for each image, as :class:`FeatureCollector` takes it.

    Raises:
        ScoringError: If lengths differ.
    """
    named = {'feature': features} if isinstance(features, Tensor) else dict(features)
    count = len(person_ids)
    cameras = [-1] * count if camera_ids is None else camera_ids
    roles = [role] * count if isinstance(role, str) else role
    paths = [f'image {first + row}' for row in range(count)] if img_paths is None else img_paths
    lengths = {**named, 'camera_ids': cameras, 'role': roles, 'img_paths': paths}
    for name, values in lengths.items():
        if len(values) != count:
            raise ScoringError(f'{len(values)} {name} for {count} person_ids')
    people, places = torch.as_tensor(person_ids).tolist(), torch.as_tensor(cameras).tolist()
    return [
        dict(
            img_path=paths[row],
            person_id=people[row],
            camera_id=places[row],
            role=roles[row],
            sample_idx=first + row,
            features={name: feature[row] for name, feature in named.items()},
        )
        for row in range(count)
    ]
