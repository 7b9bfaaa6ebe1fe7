"""Named cameras of a checkpoint against those of the data set."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn

from fusionreid.engine.hooks import StrictLoadHook
from fusionreid.errors import ConfigError


def load(found: dict[int, str], trained: dict[int, str], use_cameras: bool = True) -> None:
    """Load a checkpoint of a training with some cameras, to test with others."""
    model: Any = nn.Linear(2, 2)
    model.use_cameras, model.num_cameras = use_cameras, 2
    dataset = SimpleNamespace(metainfo=dict(camera_names=found))
    runner = SimpleNamespace(
        model=model,
        _load_from='epoch_1.pth',
        _train_loop=None,
        # One that is not built yet.
        _val_loop=dict(type='ValLoop'),
        _test_loop=SimpleNamespace(dataloader=SimpleNamespace(dataset=dataset)),
    )
    meta = dict(dataset_meta=dict(camera_names=trained))
    StrictLoadHook().after_load_checkpoint(
        runner,
        dict(state_dict=model.state_dict(), meta=meta),  # type: ignore[arg-type]
    )


def test_cameras_keep_the_numbers_of_the_training():
    load({0: 'gate', 1: 'yard'}, {0: 'gate', 1: 'yard'})
    load({}, {})
    load({0: 'yard'}, {0: 'gate', 1: 'yard'}, use_cameras=False)
    with pytest.raises(ConfigError, match='knows the cameras 1 gate, 2 yard, .* has the cameras 1'):
        load({0: 'yard'}, {0: 'gate', 1: 'yard'})
    with pytest.raises(ConfigError, match=r'has cameras by number: .*model\.use_cameras=False'):
        load({}, {0: 'gate', 1: 'yard'})
