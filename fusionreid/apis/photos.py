"""Photos as a model sees them, for what looks inside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fusionreid.errors import ImageDecodeError
from fusionreid.evaluation.feature_set import ALL

from .feature_extractor import FeatureExtractor, PreparedBatch
from .image_input import Image, image_name


@dataclass(frozen=True)
class Photos:
    """Photos that are prepared for a model.

    Attributes:
        names: Their files, or positions where they are none, of length B.
        pixels: What the model sees of each, uint8 of shape (H, W, 3), RGB.
        images: The same, normalized, of shape ``(B, 3, H, W)``, on the model's device.
        camera_ids: 0-based cameras of shape ``(B,)``, -1 for unknown.
        batch: What the test pipeline made of them.
    """

    names: list[str]
    pixels: list[np.ndarray]
    images: Tensor
    camera_ids: Tensor
    batch: PreparedBatch


def load_photos(
    extractor: FeatureExtractor, sources: Sequence[Image], cameras: Sequence[int]
) -> Photos:
    """Prepare photos as in testing.

    Args:
        extractor: The model.
        sources: Image files, arrays or PIL images, at least one.
        cameras: Their 0-based cameras, -1 for unknown.

    Returns:
        The photos.

    Raises:
        ImageDecodeError: If a photo is missing or cannot be decoded.
        InferenceError: If a camera is none of the model's.
    """
    (batch,) = extractor.prepare(sources, cameras, batch_size=len(sources))
    if batch.failed:
        raise ImageDecodeError(next(iter(batch.failed.values())))
    inputs = [sample['inputs'] for sample in batch.samples]
    images = extractor.torch_model.data_preprocessor(dict(inputs=inputs, data_samples=None))[
        'inputs'
    ]
    return Photos(
        [image_name(image, number) for number, image in enumerate(sources)],
        [each.permute(1, 2, 0).numpy() for each in inputs],
        images,
        torch.as_tensor(cameras, device=images.device),
        batch,
    )


def photo_distances(
    extractor: FeatureExtractor, photos: Photos, others: Photos, features: Sequence[str]
) -> dict[str, list[float]]:
    """Measure how far photos are from others, row by row, as a search does.

    Args:
        extractor: The model.
        photos: B photos.
        others: B photos.
        features: Names of the features, of which ``'all'`` stands for all side by side.

    Returns:
        By feature, B distances of L2-normalized features, in [0, 2].
    """
    sides = []
    for side in (photos, others):
        samples = extractor.predict(side.batch, side.names)
        found = {
            name: torch.stack([sample.features[name] for sample in samples]).float()
            for name in extractor.model.feature_widths
        }
        sides.append(found | {ALL: torch.cat(list(found.values()), 1)})
    first, second = sides
    return {
        name: (F.normalize(first[name]) - F.normalize(second[name])).norm(dim=1).tolist()
        for name in features
    }
