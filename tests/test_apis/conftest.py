from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from tiny_runs import render_tiny, write_tiny_config

from fusionreid.registry import MODELS


@pytest.fixture(scope='module')
def trained(tmp_path_factory) -> tuple[Path, Path, Path]:
    """A data set, a config, and a checkpoint that holds the config, as training writes it."""
    folder = tmp_path_factory.mktemp('trained')
    data = render_tiny(folder / 'synthetic')
    config = write_tiny_config(folder, data)
    torch.manual_seed(3)
    cfg = Config.fromfile(config)
    with DefaultScope.overwrite_default_scope('fusionreid'):
        model = MODELS.build(cfg.model)
    (folder / 'run').mkdir()
    checkpoint = folder / 'run' / 'epoch_2.pth'
    # Cameras that differ, as after training.
    for branch in model.branches.values():
        for name, value in branch.named_parameters():
            if 'side_information' in name or name.endswith('sie.weight'):
                torch.nn.init.normal_(value)
    torch.save(dict(meta=dict(cfg=cfg.pretty_text), state_dict=model.state_dict()), checkpoint)
    return data, config, checkpoint
