"""Runs exported models."""

from .base import Runtime
from .export_manifest import ExportManifest, read_export
from .exported_model import ExportedModel
from .onnx_runtime import ONNXRuntime
from .opening import is_export, open_export, open_exported, runtime_names
from .openvino_runtime import OpenVINORuntime
from .torch_runtime import TorchRuntime

__all__ = [
    'ExportManifest',
    'ExportedModel',
    'ONNXRuntime',
    'OpenVINORuntime',
    'Runtime',
    'TorchRuntime',
    'is_export',
    'open_export',
    'open_exported',
    'read_export',
    'runtime_names',
]
