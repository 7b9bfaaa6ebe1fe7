"""Exports models to ONNX, OpenVINO, TorchScript, torch.export and TensorRT, proven by parity."""

from .exporting import ExportSettings, export_model
from .graph import ExportGraph
from .parity import ParityReport
from .quantization import PersonImages, QuantizationLoss, export_quantized

__all__ = [
    'ExportGraph',
    'ExportSettings',
    'ParityReport',
    'PersonImages',
    'QuantizationLoss',
    'export_model',
    'export_quantized',
]
