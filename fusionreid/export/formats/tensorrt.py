"""TensorRT: the ONNX that it takes, and a script that builds the engine where it runs."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from ..graph import ExportGraph
from .onnx import ONNXExporter

SCRIPT = 'build_tensorrt.sh'
TEXT = """\
#!/usr/bin/env bash
# Builds model.engine from model.onnx beside this script, by TensorRT's trtexec, on the machine and
# the GPU that it runs on. An engine fits one GPU model and one version of TensorRT.
#
#   bash build_tensorrt.sh [LARGEST_BATCH] [USUAL_BATCH]      # 64 and 16 images otherwise
#
# Types are those of the ONNX file ({precision}). Arguments of trtexec can be added by TRTEXEC_ARGS.
set -euo pipefail
cd "$(dirname "${{BASH_SOURCE[0]}}")"
largest="${{1:-64}}"
usual="${{2:-16}}"
if ! command -v trtexec >/dev/null; then
  echo 'build_tensorrt: no trtexec, which comes with TensorRT: add its folder to PATH' >&2
  exit 1
fi
shapes() {{ echo "{shapes}"; }}
# shellcheck disable=SC2086
trtexec --onnx=model.onnx --saveEngine=model.engine --stronglyTyped \\
  --minShapes="$(shapes 1)" --optShapes="$(shapes "$usual")" --maxShapes="$(shapes "$largest")" \\
  ${{TRTEXEC_ARGS:-}}
"""


class TensorRTExporter(ONNXExporter):
    """Writes ``model.onnx`` and a script that builds an engine from it on the user's machine.

    The parity is that of the ONNX file; the engine is built elsewhere and not compared.
    """

    def convert(self, graph: ExportGraph, images: Tensor, cameras: Tensor | None) -> None:
        """Convert a graph, in memory."""
        super().convert(graph, images, cameras)
        sizes = 'x'.join(map(str, images.shape[1:]))
        self.shapes = f'images:$1x{sizes}' + ('' if cameras is None else ',cameras:$1')

    def save(self, folder: Path, metadata: dict[str, str]) -> None:
        """Write the files."""
        super().save(folder, metadata)
        script = TEXT.format(precision=self.precision, shapes=self.shapes)
        (folder / SCRIPT).write_text(script, encoding='utf-8')
