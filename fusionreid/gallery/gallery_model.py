"""The model that a gallery was made with, found again."""

from __future__ import annotations

from pathlib import Path

import torch

from fusionreid.apis.feature_extractor import FeatureExtractor
from fusionreid.apis.feature_spec import FeatureSpec
from fusionreid.errors import GalleryError
from fusionreid.runtimes import is_export
from fusionreid.utils.files import file_sha256


def load_model(
    spec: FeatureSpec | None,
    checkpoint: str | Path | None,
    config: str | Path | None,
    device: str | torch.device,
    projection: str | Path | None = None,
) -> FeatureExtractor:
    """Load the model that features were made with.

    Args:
        spec: What the features are; None if there are none.
        checkpoint: Its weights, or the folder of an exported model, if they are not where they
            were.
        config: Its config; the one saved with the features otherwise.
        device: Where it runs.
        projection: The projection of its features, if it is not where it was.

    Returns:
        The model.

    Raises:
        GalleryError: If the features were made without a model, the checkpoint is missing, or it is
            another one.
    """
    if spec is None or spec.config is None:
        raise GalleryError(
            'the gallery has no model, so it takes features, not images: build it with '
            'Gallery(ReIDInferencer(pretrained=checkpoint))'
        )
    is_named = checkpoint is not None
    checkpoint = checkpoint or spec.checkpoint
    if checkpoint is not None and not is_export(checkpoint):
        if not Path(checkpoint).is_file():
            raise GalleryError(
                f'the gallery was made with {spec.weights}, which is not at {checkpoint}: name '
                f'it (--checkpoint)'
            )
        if spec.sha256 not in (None, checksum := file_sha256(checkpoint)):
            raise GalleryError(
                f'the gallery was made with {spec.weights}, but {checkpoint} has sha256 '
                f'{checksum[:12]}: name the right checkpoint, or index the images again'
            )
    return FeatureExtractor(
        checkpoint,
        config or (None if is_export(checkpoint) else spec.config),
        feature=spec.feature,
        device=device,
        # The path of a program in an index is nobody's choice.
        trusts_programs=is_named,
        projection=projection or spec.projection,
    )
