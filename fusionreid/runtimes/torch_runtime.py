"""TorchScript and torch.export models, by PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fusionreid.registry import RUNTIMES
from fusionreid.utils.device import find_device

from .base import Runtime
from .export_manifest import ExportManifest


@RUNTIMES.register_module('torch')
class TorchRuntime(Runtime):
    """Runs TorchScript and torch.export models by PyTorch.

    Either file is a program, which loading may run: load only what you exported yourself or whose
    maker you trust.

    Args:
        folder: Folder of the exported model.
        manifest: What it is.
        threads: Threads of all that PyTorch computes in this process; None leaves them as they are.
        device: ``'cpu'`` or, for TorchScript, ``'cuda'``.

    Raises:
        ConfigError: If there is no such device.
    """

    formats = ('torchscript', 'torch_export')
    runs_programs = True

    def __init__(
        self,
        folder: Path,
        manifest: ExportManifest,
        *,
        threads: int | None = None,
        device: str = 'cpu',
    ) -> None:
        super().__init__(folder, manifest, threads=threads)
        if threads is not None:
            torch.set_num_threads(threads)
        path = str(folder / manifest.model_file)
        self._device = find_device(device)
        self._model: Any = (
            torch.jit.load(path, map_location=self._device)
            if manifest.model_format == 'torchscript'
            else torch.export.load(path).module().to(self._device)
        )

    @torch.no_grad()
    def _run(self, inputs: dict[str, Tensor]) -> list[Tensor]:
        outputs = self._model(*(value.to(self._device) for value in inputs.values()))
        given = [outputs] if isinstance(outputs, Tensor) else list(outputs)
        return [output.cpu() for output in given]
