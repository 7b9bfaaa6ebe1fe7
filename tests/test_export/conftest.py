from __future__ import annotations

from pathlib import Path

import pytest
from gallery_commands import write_checkpoint
from tiny_runs import render_tiny, write_tiny_config

from fusionreid.apis import FeatureExtractor
from fusionreid.export import ExportSettings, export_model


@pytest.fixture(scope='session')
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render_tiny(tmp_path_factory.mktemp('people') / 'data')


@pytest.fixture(scope='session')
def images(data: Path) -> list[str]:
    return sorted(str(path) for path in (data / 'bounding_box_train').glob('*.jpg'))


@pytest.fixture(scope='session')
def checkpoint(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('model')
    return write_checkpoint(write_tiny_config(folder, data), folder / 'tiny.pth')


@pytest.fixture(scope='session')
def extractor(checkpoint: Path) -> FeatureExtractor:
    return FeatureExtractor(checkpoint)


@pytest.fixture(scope='session')
def exported(
    extractor: FeatureExtractor, images: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """An ONNX model of all features."""
    folder = tmp_path_factory.mktemp('exported') / 'onnx'
    export_model(extractor, folder, ExportSettings(), images)
    return folder
