"""ONNX models, by ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from fusionreid.errors import ExportError
from fusionreid.registry import RUNTIMES
from fusionreid.utils.optional import import_optional

from .base import Runtime
from .export_manifest import ExportManifest


@RUNTIMES.register_module('onnxruntime')
class ONNXRuntime(Runtime):
    """Runs ONNX models by ONNX Runtime.

    Args:
        folder: As for :class:`~fusionreid.runtimes.Runtime`.
        manifest: As for :class:`~fusionreid.runtimes.Runtime`.
    """

    formats = ('onnx', 'tensorrt')

    def __init__(self, folder: Path, manifest: ExportManifest) -> None:
        super().__init__(folder, manifest)
        library = import_optional(
            'onnxruntime', 'onnxruntime', 'the runtime onnxruntime', ExportError
        )
        options = library.SessionOptions()
        options.log_severity_level = 3
        self._session = library.InferenceSession(
            str(folder / manifest.model_file), options, providers=['CPUExecutionProvider']
        )

    def _run(self, inputs: dict[str, Tensor]) -> list[Tensor]:
        arrays = {name: value.numpy() for name, value in inputs.items()}
        return [torch.from_numpy(output) for output in self._session.run(None, arrays)]
