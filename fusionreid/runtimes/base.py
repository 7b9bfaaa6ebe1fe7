"""What all runtimes of exported models have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from .export_manifest import ExportManifest

UNKNOWN_CAMERA = -1


class Runtime(ABC):
    """Runs an exported model.

    Args:
        folder: Folder of the exported model.
        manifest: What :func:`~fusionreid.runtimes.read_export` says of it; it has compared the
            files with their checksums.

    Raises:
        ExportError: If the runtime is not installed or cannot load the model.
    """

    formats: ClassVar[tuple[str, ...]] = ()

    def __init__(self, folder: Path, manifest: ExportManifest) -> None:
        self.folder = folder
        self.manifest = manifest

    def __call__(self, images: Tensor, cameras: Tensor | None = None) -> dict[str, Tensor]:
        """Compute the outputs.

        Args:
            images: Images of shape ``(B, 3, H, W)``, uint8 pixels or normalized float32, as
                ``manifest.raw_input`` says.
            cameras: 0-based cameras of shape ``(B,)``, int64, negative for unknown; None means all
                unknown. Ignored where the model has no such input.

        Returns:
            Outputs of shape ``(B, D)``, float32, by name, ``'embedding'`` first.
        """
        inputs = dict(images=images)
        if self.manifest.cameras:
            inputs['cameras'] = (
                torch.full((len(images),), UNKNOWN_CAMERA) if cameras is None else cameras
            )
        return dict(zip(self.manifest.outputs, self._run(inputs), strict=True))

    @abstractmethod
    def _run(self, inputs: dict[str, Tensor]) -> list[Tensor]:
        """Compute the outputs, in the order of the manifest."""
