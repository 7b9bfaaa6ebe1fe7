"""The formats that a model can be exported to: a file and a class for each."""

from __future__ import annotations

from .base import EXAMPLE_BATCH, Exporter
from .onnx import ONNXExporter
from .openvino import OpenVINOExporter
from .tensorrt import TensorRTExporter
from .torch_export import TorchExportExporter
from .torchscript import TorchScriptExporter

EXPORTERS: dict[str, type[Exporter]] = {
    'onnx': ONNXExporter,
    'openvino': OpenVINOExporter,
    'torchscript': TorchScriptExporter,
    'torch_export': TorchExportExporter,
    'tensorrt': TensorRTExporter,
}

__all__ = ['EXAMPLE_BATCH', 'EXPORTERS', 'Exporter']
