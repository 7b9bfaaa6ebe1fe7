"""What happens to a batch on the device: stacking, random patch, normalization, random erasing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from fusionreid.errors import ConfigError
from fusionreid.registry import MODELS
from fusionreid.structures import ReIDDataSample

from .random_erasing import check_erasing, random_erase
from .random_patch import check_patches, paste_patches


@MODELS.register_module()
class ReIDDataPreprocessor(BaseDataPreprocessor):
    """Stacks uint8 images, moves them to the device and normalizes them.

    In training it also erases random rectangles, or pastes parts of other images there.

    Args:
        mean: Mean per RGB channel, in [0, 255]. Defaults to 127.5, i.e. 0.5 after scaling to [0,
            1].
        std: Standard deviation per RGB channel. Defaults to 127.5.
        random_erasing: Arguments ``probability``, ``area`` and ``aspect`` of random erasing; None
            turns it off.
        random_patch: Arguments ``probability``, ``area``, ``aspect`` and ``flip_probability`` of
            :func:`~fusionreid.models.data_preprocessors.random_patch.paste_patches`; None turns it
            off.

    Raises:
        ValueError: If a setting is out of its range.

    Example:
        >>> preprocessor = ReIDDataPreprocessor()
        >>> image = torch.full((3, 8, 4), 255, dtype=torch.uint8)
        >>> batch = preprocessor(dict(inputs=[image, image]))
        >>> batch['inputs'].shape, batch['inputs'].max()
        (torch.Size([2, 3, 8, 4]), tensor(1.))
    """

    def __init__(
        self,
        mean: Sequence[float] = (127.5, 127.5, 127.5),
        std: Sequence[float] = (127.5, 127.5, 127.5),
        random_erasing: dict[str, Any] | None = None,
        random_patch: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(non_blocking=True)
        if not {len(mean), len(std)} <= {1, 3} or min(std) <= 0:
            raise ValueError(
                f'mean and std must have a value for all channels or one for each of 3, and std '
                f'must be above 0, got {list(mean)} and {list(std)}'
            )
        if random_erasing is not None:
            check_erasing(**random_erasing)
        if random_patch is not None:
            check_patches(**random_patch)
        self.register_buffer('mean', torch.tensor(mean, dtype=torch.float32).view(-1, 1, 1), False)
        self.register_buffer('std', torch.tensor(std, dtype=torch.float32).view(-1, 1, 1), False)
        self.random_erasing = random_erasing
        self.random_patch = random_patch

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Prepare a batch.

        Args:
            data: ``inputs``, a list of uint8 tensors ``(3, H, W)`` of one size (or the stacked
                tensor), and ``data_samples``.
            training: Whether random patch and random erasing apply.

        Returns:
            ``inputs`` as a normalized float tensor ``(B, 3, H, W)`` on the device, and
            ``data_samples``.

        Raises:
            ConfigError: If there are no images.
            ValueError: If they differ in size.
        """
        if 'inputs' not in data:
            raise ConfigError(
                f'a batch has {", ".join(data) or "nothing"}, but no images: the pipeline of the '
                "data set must end with dict(type='PackReIDInputs')"
            )
        samples = data.get('data_samples')
        stacked = self._stack(data['inputs'], samples)
        augments = training and (self.random_erasing, self.random_patch) != (None, None)
        seeds = self._seeds(len(stacked), samples) if augments else []
        if augments and self.random_patch is not None:
            stacked = paste_patches(stacked.clone(), seeds, **self.random_patch)
        images = torch.sub(stacked, self.mean).div_(self.std)
        if augments and self.random_erasing is not None:
            random_erase(images, seeds, **self.random_erasing)
        return dict(inputs=images, data_samples=samples)

    def _stack(
        self, inputs: Sequence[Tensor] | Tensor, samples: list[ReIDDataSample] | None
    ) -> Tensor:
        if not isinstance(inputs, Tensor):
            sizes = {tuple(image.shape) for image in inputs}
            if len(sizes) > 1:
                paths = [sample.get('img_path') for sample in samples or []]
                raise ValueError(
                    f'images of a batch must have one size, got {sorted(sizes)} (files: '
                    f'{paths[:4]} ...): add a Resize '
                    'with a fixed scale to the pipeline'
                )
            inputs = torch.stack(list(inputs))
        return inputs.to(self.device, non_blocking=self._non_blocking)

    @staticmethod
    def _seeds(count: int, samples: list[ReIDDataSample] | None) -> list[int]:
        # A sampler that gives no seeds (not ours) falls back on NumPy's global generator, which the
        # Runner seeds.
        drawn = np.random.randint(0, 2**31, size=count)
        if not samples:
            return drawn.tolist()
        return [
            int(sample.get('augment_seed', fallback))
            for sample, fallback in zip(samples, drawn, strict=True)
        ]
