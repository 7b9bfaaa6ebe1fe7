"""torch.export's archive."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ..graph import ExportGraph
from .base import Exporter, export_program


class TorchExportExporter(Exporter):
    """Writes ``model.pt2``."""

    file = 'model.pt2'
    precisions = ('fp32', 'fp16', 'bf16')
    runtime = 'torch'

    def convert(self, graph: ExportGraph, images: Tensor, cameras: Tensor | None) -> None:
        """Convert a graph, in memory."""
        self.program = export_program(graph, images, cameras)

    def save(self, folder: Path, metadata: dict[str, str]) -> None:
        """Write the file."""
        torch.export.save(self.program, folder / self.file, extra_files=dict(metadata))
