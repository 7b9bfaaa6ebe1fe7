"""Runs exported models."""

from .base import Runtime
from .export_manifest import ExportManifest, read_export
from .onnx_runtime import ONNXRuntime
from .openvino_runtime import OpenVINORuntime
from .torch_runtime import TorchRuntime

__all__ = [
    'ExportManifest',
    'ONNXRuntime',
    'OpenVINORuntime',
    'Runtime',
    'TorchRuntime',
    'read_export',
]
