"""Maps of a few photos of a data set, by the model as it is while it is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import BaseDataset

from fusionreid.datasets.seeded_augmentation import seeded_augmentation
from fusionreid.errors import ExplainError
from fusionreid.explain import AttentionMap, all_attention, class_relevance
from fusionreid.explain.relevance import describe_class_relevance
from fusionreid.models import FusionReID
from fusionreid.models.layers.side_information import UNKNOWN_CAMERA
from fusionreid.visualization import draw_attention_sheet, draw_relevance_sheet, figure_pixels

CAM, ATTENTION = KINDS = ('cam', 'attention')


@dataclass
class PhotoMaps:
    """Maps of B photos.

    Attributes:
        names: Names of their files.
        pixels: What the model sees of each, uint8 of shape (H, W, 3), RGB.
        relevance: By feature, a map (H, W) for each photo; empty where none was asked for.
        attention: Attention of all tokens, B photos each; empty where none was asked for.
        refused: Why maps that were asked for cannot be.
    """

    names: list[str]
    pixels: list[np.ndarray]
    relevance: dict[str, list[np.ndarray]] = field(default_factory=dict)
    attention: list[AttentionMap] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def draw(self, when: str) -> dict[str, np.ndarray]:
        """Draw the maps.

        Args:
            when: Second line of the pictures: where the training stands.

        Returns:
            Pictures by name, uint8 of shape (H, W, 3), RGB: ``relevance`` of all photos, and
            ``attention_1`` and so on of each.
        """
        figures = {}
        if self.relevance:
            figures['relevance'] = draw_relevance_sheet(
                self.pixels,
                self.names,
                self.relevance,
                'Which pixels speak for an identity',
                f'{when}; {describe_class_relevance()}',
            )
        for place in range(len(self.names) if self.attention else 0):
            figures[f'attention_{place + 1}'] = draw_attention_sheet(
                self.pixels[place],
                self.attention,
                'What the tokens attend to',
                f'{self.names[place]}; {when}; the heads averaged; own: what is on no patch',
                image=place,
            )
        return {name: figure_pixels(figure) for name, figure in figures.items()}


def compute_photo_maps(
    model: FusionReID,
    dataset: BaseDataset,
    rows: Sequence[int],
    kinds: Sequence[str],
    features: Sequence[str] | None = None,
) -> PhotoMaps:
    """Compute maps of photos of a data set.

    Weights, their gradients, the statistics of batch norms, the modes of the modules and the
    generators of random numbers are left as they were.

    Args:
        model: The model, in eval mode.
        dataset: The data set, whose pipeline prepares the photos.
        rows: Positions of the photos in it.
        kinds: What to compute, of ``'cam'`` and ``'attention'``.
        features: Features whose relevance is computed; None for each.

    Returns:
        The maps, and why some of them cannot be.

    Raises:
        ImageDecodeError: If a photo is missing or cannot be decoded.
    """
    with seeded_augmentation(0), torch.random.fork_rng(devices=[]):
        items: list[dict[str, Any]] = [dataset[row] for row in rows]
    inputs = [item['inputs'] for item in items]
    samples = [item['data_samples'] for item in items]
    images = model.data_preprocessor(dict(inputs=inputs, data_samples=None))['inputs']
    cameras = [sample.get('camera_id', UNKNOWN_CAMERA) for sample in samples]
    camera_ids = torch.as_tensor(cameras, device=images.device)
    found = PhotoMaps(
        [Path(sample.img_path).name for sample in samples],
        [each.permute(1, 2, 0).numpy() for each in inputs],
    )
    if CAM in kinds:
        try:
            maps = class_relevance(model, images, None, features, camera_ids=camera_ids)
            found.relevance = {name: list(each.cpu().numpy()) for name, each in maps.items()}
        except ExplainError as error:
            found.refused.append(str(error))
    if ATTENTION in kinds:
        try:
            found.attention, refused = all_attention(model, images, camera_ids)
            found.refused += refused
        except ExplainError as error:
            found.refused.append(str(error))
    return found
