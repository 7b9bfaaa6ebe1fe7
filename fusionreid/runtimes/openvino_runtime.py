"""OpenVINO and ONNX models, by OpenVINO."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fusionreid.errors import ExportError
from fusionreid.registry import RUNTIMES
from fusionreid.utils.integers import as_integer
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
        batch_size: Images that the model is compiled for, which lets OpenVINO fuse more: as many as
            come at once. More are computed in parts, fewer are filled up with copies of the last.
            None compiles it for any number.

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
        batch_size: int | None = None,
    ) -> None:
        super().__init__(folder, manifest, threads=threads)
        if hint not in PERFORMANCE_HINTS:
            raise ExportError(f'hint must be one of {list(PERFORMANCE_HINTS)}, got {hint!r}')
        if batch_size is not None and as_integer(batch_size, 'batch_size', ExportError) < 1:
            raise ExportError(f'batch_size must be at least 1, got {batch_size}')
        self.batch_size = batch_size
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
        model = core.read_model(str(folder / manifest.model_file))
        if batch_size is not None:
            model.reshape(
                {port.any_name: [batch_size, *port.partial_shape[1:]] for port in model.inputs}
            )
        self._model = core.compile_model(model, name, settings)
        requests = 1
        if hint == 'throughput':
            requests = self._model.get_property('OPTIMAL_NUMBER_OF_INFER_REQUESTS')
        self._queue = library.AsyncInferQueue(self._model, requests)

    def _run(self, inputs: dict[str, Tensor]) -> list[Tensor]:
        rows = len(inputs['images'])
        if self.batch_size is None:
            count = min(len(self._queue), rows)
        else:
            count = math.ceil(rows / self.batch_size)
            # The same work as a full batch; what it gives is cut off again.
            missing = count * self.batch_size - rows
            inputs = {
                name: torch.cat([value, value[-1:].expand(missing, *value.shape[1:])])
                for name, value in inputs.items()
            }
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
        return [torch.cat(outputs)[:rows] for outputs in zip(*found, strict=True)]
