"""TorchScript and torch.export models, by PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fusionreid.registry import RUNTIMES

from .base import Runtime
from .export_manifest import ExportManifest


@RUNTIMES.register_module('torch')
class TorchRuntime(Runtime):
    """Runs TorchScript and torch.export models by PyTorch.

    Either file is a program, which loading may run: load only what you exported yourself or whose
    maker you trust.

    Args:
        folder: As for :class:`~fusionreid.runtimes.Runtime`.
        manifest: As for :class:`~fusionreid.runtimes.Runtime`.
    """

    formats = ('torchscript', 'torch_export')

    def __init__(self, folder: Path, manifest: ExportManifest) -> None:
        super().__init__(folder, manifest)
        path = str(folder / manifest.model_file)
        self._model: Any = (
            torch.jit.load(path)
            if manifest.model_format == 'torchscript'
            else torch.export.load(path).module()
        )

    @torch.no_grad()
    def _run(self, inputs: dict[str, Tensor]) -> list[Tensor]:
        outputs = self._model(*inputs.values())
        return [outputs] if isinstance(outputs, Tensor) else list(outputs)
