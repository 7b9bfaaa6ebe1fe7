"""ONNX."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..graph import ExportGraph
from .base import Exporter, export_program

BATCH = 'batch'
# Bytes of weights beside which the rest fits into one file of protobuf, at most 2 GiB.
LARGEST_FILE = 2**31 - 2**26


class ONNXExporter(Exporter):
    """Writes ``model.onnx``, and ``model.onnx.data`` where the weights do not fit in."""

    file = 'model.onnx'
    precisions = ('fp32', 'fp16')
    packages = dict(onnx='onnx', onnxscript='onnxscript', onnxruntime='onnxruntime')
    runtime = 'onnxruntime'

    def convert(self, graph: ExportGraph, images: Tensor, cameras: Tensor | None) -> None:
        """Convert a graph, in memory."""
        self.model = onnx_model(graph, images, cameras)

    def save(self, folder: Path, metadata: dict[str, str]) -> None:
        """Write the files."""
        import onnx

        onnx.helper.set_model_props(self.model, metadata)
        save_onnx(self.model, folder / self.file)

    def versions(self) -> dict[str, str]:
        """Versions of the packages, of the operator set and of the format."""
        names = ('onnx', 'onnxscript', 'onnxruntime')
        return {
            **{name: importlib.metadata.version(name) for name in names},
            'opset': str(max(each.version for each in self.model.opset_import if not each.domain)),
            'onnx_ir': str(self.model.ir_version),
        }


def onnx_model(graph: ExportGraph, images: Tensor, cameras: Tensor | None) -> Any:
    """Convert a graph to ONNX.

    Args:
        graph: The graph.
        images: Images of shape ``(EXAMPLE_BATCH, 3, H, W)``.
        cameras: Cameras of shape ``(EXAMPLE_BATCH,)``; None where the graph takes none.

    Returns:
        The ``onnx.ModelProto``, whose inputs and outputs have a free first size, ``batch``.
    """
    program = torch.onnx.export(
        export_program(graph, images, cameras),
        input_names=graph.input_names,
        output_names=graph.output_names,
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    model = program.model_proto
    # The tracer numbers free sizes, and notes where in the source each node comes from.
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = BATCH
        del value.metadata_props[:]
    del model.graph.value_info[:]
    for node in model.graph.node:
        del node.metadata_props[:]
    return model


def save_onnx(model: Any, path: Path) -> None:
    """Write an ONNX model; weights of more than 2 GB go into a file beside it, ``PATH.data``.

    Args:
        model: The ``onnx.ModelProto``, which keeps its weights.
        path: Its file.
    """
    import onnx

    if sum(len(each.raw_data) for each in model.graph.initializer) <= LARGEST_FILE:
        onnx.save(model, path)
        return
    data = path.with_name(f'{path.name}.data')
    # It would be appended to.
    data.unlink(missing_ok=True)
    onnx.save(model, path, save_as_external_data=True, location=data.name)
    # Writing takes the weights out of the model.
    onnx.load_external_data_for_model(model, str(path.parent))
