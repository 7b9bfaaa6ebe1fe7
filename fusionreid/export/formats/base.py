"""What all exporters have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from ..graph import ExportGraph

# Images of the example: one would be taken for a fixed batch.
EXAMPLE_BATCH = 2


class Exporter(ABC):
    """Turns a graph into a file of one format.

    Args:
        precision: Precision of the weights and the computation.
    """

    # Name of the file that a runtime opens.
    file: ClassVar[str]
    # What the format can have.
    precisions: ClassVar[tuple[str, ...]]
    # Packages that it needs: name to import, and what pip installs.
    packages: ClassVar[dict[str, str]] = {}
    # Name of the runtime that the parity is measured with.
    runtime: ClassVar[str]

    def __init__(self, precision: str) -> None:
        self.precision = precision

    @abstractmethod
    def convert(self, graph: ExportGraph, images: Tensor, cameras: Tensor | None) -> None:
        """Convert a graph, in memory.

        Args:
            graph: The graph.
            images: Images of shape ``(EXAMPLE_BATCH, 3, H, W)``.
            cameras: Cameras of shape ``(EXAMPLE_BATCH,)``; None where the graph takes none.
        """

    @abstractmethod
    def save(self, folder: Path, metadata: dict[str, str]) -> None:
        """Write what was converted.

        Args:
            folder: Where to.
            metadata: Texts by name, which go into the file.
        """

    def versions(self) -> dict[str, str]:
        """Versions of what took part, besides PyTorch."""
        return {}


def example_inputs(images: Tensor, cameras: Tensor | None) -> tuple[Tensor, ...]:
    """Arguments of a graph.

    Args:
        images: Images of shape ``(B, 3, H, W)``.
        cameras: Cameras of shape ``(B,)``; None where the graph takes none.

    Returns:
        The arguments that there are.
    """
    return (images,) if cameras is None else (images, cameras)


@torch.no_grad()
def export_program(graph: ExportGraph, images: Tensor, cameras: Tensor | None) -> ExportedProgram:
    """Trace a graph with a batch size that is free.

    Running the graph on symbols takes a third of the time of analyzing its bytecode. Where Python
    code makes a number of the batch size, as ``len(images)`` does, it raises instead of taking the
    size for a constant; strict tracing, which understands more, gets its turn then.

    Args:
        graph: The graph.
        images: Images of shape ``(EXAMPLE_BATCH, 3, H, W)``.
        cameras: Cameras of shape ``(EXAMPLE_BATCH,)``; None where the graph takes none.

    Returns:
        The program.

    Raises:
        RuntimeError: If the graph cannot be traced, or not without fixing the batch size.
    """
    arguments = example_inputs(images, cameras)
    batch = Dim('batch', min=1)
    shapes = tuple({0: batch} for _ in arguments)
    try:
        return torch.export.export(graph, arguments, dynamic_shapes=shapes, strict=False)
    except RuntimeError:
        # What was compiled before in this process must not meet it.
        torch._dynamo.reset()
        return torch.export.export(graph, arguments, dynamic_shapes=shapes, strict=True)
