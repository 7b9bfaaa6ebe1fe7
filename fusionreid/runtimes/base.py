"""What all runtimes of exported models have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

import torch
from joblib import cpu_count
from torch import Tensor

from fusionreid.errors import ExportError
from fusionreid.utils.integers import as_integer

from .export_manifest import ExportManifest

UNKNOWN_CAMERA = -1


class Runtime(ABC):
    """Runs an exported model.

    Args:
        folder: Folder of the exported model.
        manifest: What :func:`~fusionreid.runtimes.read_export` says of it; it has compared the
            files with their checksums.
        threads: Threads of the computation; None takes as many as the container may use.

    Raises:
        ExportError: If the runtime is not installed, or cannot load the model.
    """

    # Formats that it runs.
    formats: ClassVar[tuple[str, ...]] = ()
    # Whether a file of these formats is a program, which loading may run.
    runs_programs: ClassVar[bool] = False

    def __init__(
        self,
        folder: Path,
        manifest: ExportManifest,
        *,
        threads: int | None = None,
    ) -> None:
        if threads is not None and as_integer(threads, 'threads', ExportError) < 1:
            raise ExportError(f'threads must be at least 1, got {threads}')
        self.folder = folder
        self.manifest = manifest
        self.threads: int = threads or cpu_count()

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
