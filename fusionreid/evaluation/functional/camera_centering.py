"""Takes the mean feature of each camera out of its photos' features."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from .errors import ScoringInputError
from .unit_rows import unit_rows_
from .validation import as_labels, feature_norms

# Photos that are centered at once.
CENTERED_ROWS = 8192
# The mean of fewer photos says more about who is in them than about the camera.
LEAST_PHOTOS = 20


@dataclass(frozen=True)
class CameraMeans:
    """Mean features of cameras.

    Attributes:
        cameras: Cameras with enough photos, (C,) int64, ascending; none is negative.
        means: Their mean features, (C, d) float64.
        overall: Mean of all photos, (d,) float64.
    """

    cameras: Tensor
    means: Tensor
    overall: Tensor


@torch.no_grad()
def camera_means(
    blocks: Iterable[tuple[Tensor, Tensor | Sequence[int]]], least: int = LEAST_PHOTOS
) -> CameraMeans:
    """Average the features of each camera.

    Args:
        blocks: Features (n, d), each L2-normalized, and their cameras (n,), negative where unknown.
        least: Photos from which on a camera has a mean of its own.

    Returns:
        The means.

    Raises:
        TypeError: Features or cameras of the wrong type.
        ScoringInputError: No photo, features that are zero or not finite, or cameras of the wrong
            length.

    Example:
        >>> means = camera_means([(torch.eye(2), [0, 0]), (torch.eye(2)[:1], [1])], least=2)
        >>> means.cameras.tolist(), means.means.tolist()
        ([0], [[0.5, 0.5]])
    """
    sums: dict[int, Tensor] = {}
    counts: dict[int, int] = {}
    for features, cameras in blocks:
        feature_norms(features, 'camera')
        labels = as_labels(cameras, len(features), 'cameras', features.device).clamp_min(-1)
        for part, own in zip(
            features.split(CENTERED_ROWS), labels.split(CENTERED_ROWS), strict=True
        ):
            present, place = own.unique(return_inverse=True)
            total = torch.zeros(
                len(present), part.shape[1], dtype=torch.float64, device=part.device
            ).index_add_(0, place, part.double())
            number = torch.bincount(place, minlength=len(present)).tolist()
            for row, camera in enumerate(present.tolist()):
                sums[camera] = sums.get(camera, 0) + total[row]
                counts[camera] = counts.get(camera, 0) + number[row]
    if not counts:
        raise ScoringInputError('there is no photo to take the mean of')
    own_mean = sorted(camera for camera in counts if camera >= 0 and counts[camera] >= least)
    overall = torch.stack(list(sums.values())).sum(0) / sum(counts.values())
    means = [sums[camera] / counts[camera] for camera in own_mean]
    return CameraMeans(
        cameras=torch.tensor(own_mean, dtype=torch.int64, device=overall.device),
        means=torch.stack(means) if means else overall.new_empty(0, len(overall)),
        overall=overall,
    )


@torch.no_grad()
def center_cameras(features: Tensor, cameras: Tensor | Sequence[int], means: CameraMeans) -> Tensor:
    """Subtract the mean of each photo's camera, and L2-normalize.

    A photo of an unknown camera, or of one without a mean, loses the mean of all photos.

    Args:
        features: (n, d), each L2-normalized, on the device of the means.
        cameras: (n,) integers; negative is unknown.
        means: From :func:`camera_means`.

    Returns:
        (n, d) float32 (float64 for float64 features).

    Raises:
        TypeError: Cameras that are not integers.
        ScoringInputError: Another width, cameras of the wrong length, or a feature that is the
            mean itself.
    """
    if features.shape[1:] != means.overall.shape:
        raise ScoringInputError(
            f'features have width {features.shape[-1]}, the means {len(means.overall)}'
        )
    labels = as_labels(cameras, len(features), 'cameras', features.device)
    table = torch.cat([means.means, means.overall[None]])
    place = torch.searchsorted(means.cameras, labels)
    known = place < len(means.cameras)
    known[known.clone()] = means.cameras[place[known]] == labels[known]
    place = torch.where(known, place, len(means.cameras))
    dtype = torch.float64 if features.dtype == torch.float64 else torch.float32
    centered = torch.empty(features.shape, dtype=dtype, device=features.device)
    for start in range(0, len(features), CENTERED_ROWS):
        rows = slice(start, start + CENTERED_ROWS)
        part = features[rows].double() - table[place[rows]]
        centered[rows] = unit_rows_(part, partial(_name, start))
    return centered


def _name(start: int, row: int) -> str:
    return f'centered feature {start + row}'
