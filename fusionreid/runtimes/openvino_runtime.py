"""OpenVINO and ONNX models, by OpenVINO."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from fusionreid.errors import ExportError
from fusionreid.registry import RUNTIMES
from fusionreid.utils.optional import import_optional

from .base import Runtime
from .export_manifest import ExportManifest

# Precision of the computation; otherwise a CPU that can computes fp32 models in bfloat16.
HINTS = {'fp32': 'f32', 'fp16': 'f16', 'bf16': 'bf16', 'int8': 'f32'}


@RUNTIMES.register_module('openvino')
class OpenVINORuntime(Runtime):
    """Runs OpenVINO and ONNX models by OpenVINO.

    Args:
        folder: As for :class:`~fusionreid.runtimes.Runtime`.
        manifest: As for :class:`~fusionreid.runtimes.Runtime`.
    """

    formats = ('openvino', 'onnx', 'tensorrt')

    def __init__(self, folder: Path, manifest: ExportManifest) -> None:
        super().__init__(folder, manifest)
        library = import_optional('openvino', 'openvino', 'the runtime openvino', ExportError)
        self._model = library.Core().compile_model(
            str(folder / manifest.model_file),
            'CPU',
            {'INFERENCE_PRECISION_HINT': HINTS[manifest.precision]},
        )

    def _run(self, inputs: dict[str, Tensor]) -> list[Tensor]:
        arrays = {name: value.numpy() for name, value in inputs.items()}
        outputs = self._model(arrays)
        return [torch.from_numpy(outputs[port].copy()) for port in self._model.outputs]
