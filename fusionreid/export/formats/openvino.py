"""OpenVINO's intermediate representation."""

from __future__ import annotations

import importlib.metadata
import tempfile
from pathlib import Path
from typing import Any

from torch import Tensor

from ..graph import ExportGraph
from .base import Exporter
from .onnx import ONNXExporter, onnx_model, save_onnx


class OpenVINOExporter(Exporter):
    """Writes ``model.xml`` and ``model.bin``.

    It is made from ONNX: from PyTorch directly it takes a hundred times longer, and the size of the
    images is lost.
    """

    file = 'model.xml'
    precisions = ('fp32', 'fp16', 'bf16')
    packages = dict(openvino='openvino', onnx='onnx', onnxscript='onnxscript')
    runtime = 'openvino'

    def convert(self, graph: ExportGraph, images: Tensor, cameras: Tensor | None) -> None:
        """Convert a graph, in memory."""
        import openvino

        # The model may read its weights there until it is saved.
        self.scratch = tempfile.TemporaryDirectory()
        path = Path(self.scratch.name) / ONNXExporter.file
        save_onnx(onnx_model(graph, images, cameras), path)
        self.model: Any = openvino.Core().read_model(path)

    def save(self, folder: Path, metadata: dict[str, str]) -> None:
        """Write the files."""
        import openvino

        for name, text in metadata.items():
            self.model.set_rt_info(text, [name])
        openvino.save_model(
            self.model, folder / self.file, compress_to_fp16=self.precision != 'fp32'
        )

    def versions(self) -> dict[str, str]:
        """Versions of the packages."""
        names = ('openvino', 'onnx', 'onnxscript')
        return {name: importlib.metadata.version(name) for name in names}
