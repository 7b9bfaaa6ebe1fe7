"""TorchScript."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import Tensor

from ..graph import ExportGraph
from .base import Exporter, example_inputs


class TorchScriptExporter(Exporter):
    """Writes ``model.ts``.

    The tracer takes sizes that Python code looks at for constants. The models of the package do not
    look at the batch size; a network from elsewhere may, which the parity then shows.
    """

    file = 'model.ts'
    precisions = ('fp32', 'fp16', 'bf16')
    runtime = 'torch'

    def convert(self, graph: ExportGraph, images: Tensor, cameras: Tensor | None) -> None:
        """Convert a graph, in memory."""
        with torch.no_grad(), warnings.catch_warnings():
            # What the tracer takes for constants is compared at other batch sizes afterwards.
            warnings.simplefilter('ignore')
            self.script = torch.jit.trace(graph, example_inputs(images, cameras), check_trace=False)

    def save(self, folder: Path, metadata: dict[str, str]) -> None:
        """Write the file."""
        torch.jit.save(self.script, str(folder / self.file), _extra_files=dict(metadata))
