from __future__ import annotations

from pathlib import Path

import pytest
from gallery_commands import write_checkpoint
from tiny_runs import render_tiny, write_tiny_config


@pytest.fixture(scope='module')
def data(tmp_path_factory) -> Path:
    """A few rendered people, as Market-1501 lays them out."""
    return render_tiny(tmp_path_factory.mktemp('data') / 'synthetic')


@pytest.fixture(scope='module')
def checkpoint(data, tmp_path_factory) -> Path:
    """An untrained tiny model that brings its config along."""
    folder = tmp_path_factory.mktemp('checkpoint')
    return write_checkpoint(write_tiny_config(folder, data), folder / 'run' / 'epoch_2.pth')
