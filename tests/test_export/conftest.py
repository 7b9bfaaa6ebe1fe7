from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from exported_models import onnx_export, tiny_model, traced_once

from fusionreid.apis import FeatureExtractor


@pytest.fixture(scope='session')
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory).data


@pytest.fixture(scope='session')
def images(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return tiny_model(tmp_path_factory).images


@pytest.fixture(scope='session')
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory).config


@pytest.fixture(scope='session')
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory).checkpoint


@pytest.fixture(scope='session')
def extractor(checkpoint: Path) -> FeatureExtractor:
    return FeatureExtractor(checkpoint)


@pytest.fixture(scope='session')
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX model of all features."""
    return onnx_export(tmp_path_factory)


@pytest.fixture(autouse=True)
def _traced_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with traced_once(tmp_path_factory):
        yield
