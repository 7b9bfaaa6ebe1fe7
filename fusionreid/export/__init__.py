"""Exports models to ONNX, OpenVINO, TorchScript, torch.export and TensorRT, proven by parity."""

from .exporting import ExportSettings, export_model
from .graph import ExportGraph
from .parity import ParityReport

__all__ = ['ExportGraph', 'ExportSettings', 'ParityReport', 'export_model']
