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

PROVIDERS = {'cpu': 'CPUExecutionProvider', 'cuda': 'CUDAExecutionProvider'}


@RUNTIMES.register_module('onnxruntime')
class ONNXRuntime(Runtime):
    """Runs ONNX models by ONNX Runtime.

    Args:
        folder: Folder of the exported model.
        manifest: What it is.
        threads: Threads of the computation; None takes as many as the container may use.
        device: ``'cpu'``, ``'cuda'`` or, of several GPUs, ``'cuda:1'``.

    Raises:
        ExportError: If ONNX Runtime is not installed, cannot load the model, or has no such device.
    """

    formats = ('onnx', 'tensorrt')

    def __init__(
        self,
        folder: Path,
        manifest: ExportManifest,
        *,
        threads: int | None = None,
        device: str = 'cpu',
    ) -> None:
        super().__init__(folder, manifest, threads=threads)
        library = import_optional(
            'onnxruntime', 'onnxruntime', 'the runtime onnxruntime', ExportError
        )
        kind, _, number = device.partition(':')
        provider = PROVIDERS.get(kind)
        if provider not in library.get_available_providers():
            raise ExportError(
                f'onnxruntime as it is installed has no device {device!r}, it has '
                f'{", ".join(library.get_available_providers())}'
                + (': pip install onnxruntime-gpu' if kind == 'cuda' else '')
            )
        options = library.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = self.threads
        chosen = (provider, dict(device_id=int(number or 0))) if kind == 'cuda' else provider
        self._session = library.InferenceSession(
            str(folder / manifest.model_file), options, providers=[chosen]
        )

    def _run(self, inputs: dict[str, Tensor]) -> list[Tensor]:
        arrays = {name: value.numpy() for name, value in inputs.items()}
        return [torch.from_numpy(output) for output in self._session.run(None, arrays)]
