"""Whether images have the size that a model is built for."""

from __future__ import annotations

from typing import Any

from fusionreid.errors import ConfigError


def check_image_size(model: Any, size: tuple[int, int], source: str) -> None:
    """Refuse images of another size than the model's backbones are built for.

    A transformer would resize its position embedding at every step, without a word. Backbones tell
    their size by the attribute ``fixed_image_size``, None where they take any.

    Args:
        model: A :class:`~fusionreid.models.FusionReID`; of other models nothing is known.
        size: Height and width of the images in pixels.
        source: What gives images of this size, for the error.

    Raises:
        ConfigError: Naming both sizes and the settings.
    """
    for name, branch in getattr(model, 'branches', {}).items():
        backbone = branch.backbone
        expected = getattr(backbone, 'fixed_image_size', None)
        if expected not in (None, size):
            setting = f'model.branches.{name}.backbone.img_size'
            raise ConfigError(
                f'{setting}={expected} (height, width), {source} gives images of {size}: set '
                f'{setting}={size}, or scale={expected[::-1]} (width, height) in the pipeline'
            )
