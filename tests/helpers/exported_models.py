"""One tiny model and its exports, made once for all workers, and graphs that are traced once."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from gallery_commands import write_checkpoint
from tiny_runs import render_tiny, write_tiny_config
from torch import Tensor

from fusionreid.apis import FeatureExtractor
from fusionreid.export import ExportGraph, ExportSettings, export_model
from fusionreid.export.formats import onnx as onnx_format
from fusionreid.export.formats import openvino as openvino_format

NAME = 'export_tests'


@dataclass(frozen=True)
class TinyModel:
    """A tiny model with random weights, which no test changes.

    Args:
        folder: Where its files are.
    """

    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / 'data'

    @property
    def config(self) -> Path:
        return self.folder / 'tiny_fusionreid_vittiny_r18_synthetic.py'

    @property
    def checkpoint(self) -> Path:
        return self.folder / 'tiny.pth'

    @property
    def images(self) -> list[str]:
        return sorted(str(path) for path in (self.data / 'bounding_box_train').glob('*.jpg'))


def tiny_model(factory: pytest.TempPathFactory) -> TinyModel:
    """Find the model, or make it."""
    with _locked(factory) as folder:
        model = TinyModel(folder)
        if not model.checkpoint.exists():
            torch.manual_seed(0)
            write_checkpoint(write_tiny_config(folder, render_tiny(model.data)), model.checkpoint)
    return model


def onnx_export(factory: pytest.TempPathFactory) -> Path:
    """Find the model in ONNX, with all features, or export it."""
    model = tiny_model(factory)
    with _locked(factory) as folder:
        exported = folder / 'onnx'
        if not exported.exists():
            extractor = FeatureExtractor(model.checkpoint)
            with traced_once(factory):
                export_model(extractor, exported, ExportSettings(), model.images)
    return exported


@contextmanager
def traced_once(factory: pytest.TempPathFactory) -> Iterator[None]:
    """Convert graphs to ONNX only if no worker did it before; most of an export's time goes there.

    What follows, such as saving, quantizing and comparing, is not shared.
    """
    convert = onnx_format.onnx_model

    def find(graph: ExportGraph, images: Tensor, cameras: Tensor | None) -> Any:
        path = _shared(factory) / f'{_fingerprint(graph, images, cameras)}.onnx'
        if path.exists():
            return onnx.load(path)
        model = convert(graph, images, cameras)
        partial = path.with_suffix(f'.{os.getpid()}')
        onnx.save(model, partial)
        partial.rename(path)
        return model

    with pytest.MonkeyPatch.context() as patch:
        for module in (onnx_format, openvino_format):
            patch.setattr(module, 'onnx_model', find)
        yield


def _fingerprint(graph: ExportGraph, images: Tensor, cameras: Tensor | None) -> str:
    """Tell graphs apart by weights and settings."""
    digest = hashlib.sha256()
    for tensor in (images[:0], *graph.state_dict().values()):
        digest.update(f'{tensor.dtype} {tuple(tensor.shape)}'.encode())
        digest.update(tensor.float().contiguous().numpy().tobytes())
    digest.update(f'{cameras is None} {graph}'.encode())
    for name, module in graph.named_modules():
        settings = {
            key: value
            for key, value in vars(module).items()
            if isinstance(value, (bool, int, float, str, tuple, torch.dtype))
        }
        digest.update(f'{name} {sorted(settings.items())}'.encode())
    return digest.hexdigest()


def _shared(factory: pytest.TempPathFactory) -> Path:
    """The folder that all workers have in common."""
    base = factory.getbasetemp()
    folder = (base.parent if 'PYTEST_XDIST_WORKER' in os.environ else base) / NAME
    folder.mkdir(exist_ok=True)
    return folder


@contextmanager
def _locked(factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Let one worker at a time make what is not there; yields the folder."""
    folder = _shared(factory)
    with (folder / 'lock').open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder
