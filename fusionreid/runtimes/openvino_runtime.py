"""OpenVINO and ONNX models, by OpenVINO."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fusionreid.errors import ExportError
from fusionreid.registry import RUNTIMES
from fusionreid.utils.optional import import_optional

from .base import Runtime
from .export_manifest import ExportManifest

# Precision of the computation; otherwise a CPU that can computes fp32 models in bfloat16. That is
# left to it for what int8 leaves in floating point, as attention's products.
PRECISION_HINTS = {'fp32': 'f32', 'fp16': 'f16', 'bf16': 'bf16'}
PERFORMANCE_HINTS = {'latency': 'LATENCY', 'throughput': 'THROUGHPUT'}


@RUNTIMES.register_module('openvino')
class OpenVINORuntime(Runtime):
    """Runs OpenVINO and ONNX models by OpenVINO.

    Args:
        folder: Folder of the exported model.
        manifest: What it is.
        threads: Threads of the computation; None takes as many as the container may use.
        device: ``'cpu'``, or what OpenVINO calls another one, such as ``'gpu'`` for Intel's.
        hint: ``'latency'`` computes one batch on all threads. ``'throughput'`` splits a batch over
            as many requests as OpenVINO finds best for the device.

    Raises:
        ExportError: If OpenVINO is not installed, cannot load the model, or has no such device.
    """

    formats = ('openvino', 'onnx', 'tensorrt')

    def __init__(
        self,
        folder: Path,
        manifest: ExportManifest,
        *,
        threads: int | None = None,
        device: str = 'cpu',
        hint: str = 'latency',
    ) -> None:
        super().__init__(folder, manifest, threads=threads)
        if hint not in PERFORMANCE_HINTS:
            raise ExportError(f'hint must be one of {list(PERFORMANCE_HINTS)}, got {hint!r}')
        library = import_optional('openvino', 'openvino', 'the runtime openvino', ExportError)
        core = library.Core()
        name = device.upper()
        if name not in core.available_devices:
            raise ExportError(
                f'openvino has no device {device!r} here, it has '
                f'{", ".join(each.lower() for each in core.available_devices)}'
            )
        settings: dict[str, Any] = dict(PERFORMANCE_HINT=PERFORMANCE_HINTS[hint])
        if manifest.precision in PRECISION_HINTS:
            settings['INFERENCE_PRECISION_HINT'] = PRECISION_HINTS[manifest.precision]
        if name == 'CPU':
            settings['INFERENCE_NUM_THREADS'] = self.threads
        self._model = core.compile_model(str(folder / manifest.model_file), name, settings)
        requests = 1
        if hint == 'throughput':
            requests = self._model.get_property('OPTIMAL_NUMBER_OF_INFER_REQUESTS')
        self._queue = library.AsyncInferQueue(self._model, requests)

    def _run(self, inputs: dict[str, Tensor]) -> list[Tensor]:
        count = min(len(self._queue), len(inputs['images']))
        parts = [value.tensor_split(count) for value in inputs.values()]
        found: list[list[Tensor]] = [[] for _ in range(count)]

        def keep(request: Any, number: int) -> None:
            # The request's memory is used again by its next run.
            found[number] = [
                torch.from_numpy(tensor.data.copy()) for tensor in request.output_tensors
            ]

        self._queue.set_callback(keep)
        for number, values in enumerate(zip(*parts, strict=True)):
            arrays = {name: value.numpy() for name, value in zip(inputs, values, strict=True)}
            self._queue.start_async(arrays, number)
        self._queue.wait_all()
        return [torch.cat(outputs) for outputs in zip(*found, strict=True)]
