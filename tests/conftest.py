from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault('MPLBACKEND', 'Agg')
sys.path.insert(0, str(Path(__file__).parent / 'helpers'))

import pytest  # noqa: E402
import torch  # noqa: E402
from memory import return_memory  # noqa: E402
from mmengine.registry import DefaultScope  # noqa: E402


@pytest.fixture(autouse=True, scope='module')
def _small_footprint() -> Iterator[None]:
    yield
    return_memory()


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _default_scope() -> None:
    """Give every test the registry scope of our own configs, whatever others have set."""
    if not DefaultScope.check_instance_created('tests'):
        DefaultScope.get_instance('tests', scope_name='fusionreid')
    with DefaultScope.overwrite_default_scope('fusionreid'):
        yield
