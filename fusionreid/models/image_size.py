"""Whether images have the size that a model is built for."""

from __future__ import annotations

from typing import Any

from fusionreid.errors import ConfigError


def branches_of_other_sizes(model: Any, size: tuple[int, int]) -> dict[str, tuple[int, int]]:
    """Find the branches that are built for images of another size.

    Backbones tell their size by the attribute ``fixed_image_size``, None where they take any.

    Args:
        model: A :class:`~fusionreid.models.FusionReID`; of other models nothing is known.
        size: Height and width of the images in pixels.

    Returns:
        Height and width that they are built for, by the names of the branches.
    """
    sizes = {
        name: getattr(branch.backbone, 'fixed_image_size', None)
        for name, branch in getattr(model, 'branches', {}).items()
    }
    return {name: each for name, each in sizes.items() if each not in (None, size)}


def check_image_size(model: Any, size: tuple[int, int], source: str) -> None:
    """Refuse images of another size than the model's backbones are built for.

    A transformer would resize its position embedding at every step, without a word.

    Args:
        model: A :class:`~fusionreid.models.FusionReID`; of other models nothing is known.
        size: Height and width of the images in pixels.
        source: What gives images of this size, for the error.

    Raises:
        ConfigError: Naming both sizes and the settings.
    """
    for name, expected in branches_of_other_sizes(model, size).items():
        setting = f'model.branches.{name}.backbone.img_size'
        raise ConfigError(
            f'{setting}={expected} (height, width), {source} gives images of {size}: set '
            f'{setting}={size}, or scale={expected[::-1]} (width, height) in the pipeline'
        )
