"""Losses can be lifted out: their files need torch alone, and the package registers them."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from torch import nn

from fusionreid.models import losses
from fusionreid.registry import MODELS

FOLDER = Path(losses.__file__).parent
FILES = sorted(path.stem for path in FOLDER.glob('*.py') if path.stem != '__init__')
# The folder as a package of its own, whose __init__ is empty, where nothing else can be imported.
ALONE = """
import importlib, sys, types
lifted = types.ModuleType('lifted')
lifted.__path__ = [sys.argv[1]]
sys.modules['lifted'] = lifted
sys.modules.update(dict.fromkeys(['fusionreid', 'mmengine', 'mmcv', 'mmpretrain', 'timm']))
for name in sys.argv[2:]:
    importlib.import_module(f'lifted.{name}')
import torch
loss = lifted.triplet_loss.BatchHardTripletLoss(margin=1.0, mining='global')
print(loss(torch.tensor([[0.0], [1.0], [1.0]]), torch.tensor([0, 0, 1])).item())
"""


@pytest.mark.slow
def test_the_files_work_with_torch_alone():
    command = [sys.executable, '-c', ALONE, str(FOLDER), *FILES]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr[-2000:]
    # Gaps 1 - 1, 1 - 0 and 0 - 0, each with the margin, over three anchors.
    assert float(result.stdout) == pytest.approx((1 + 2 + 1) / 3, abs=1e-5)


@pytest.mark.parametrize('file', FILES)
def test_every_loss_is_registered(file):
    module = import_module(f'{losses.__name__}.{file}')
    found = [
        thing
        for thing in vars(module).values()
        if inspect.isclass(thing)
        and issubclass(thing, nn.Module)
        and thing.__module__ == module.__name__
        and not inspect.isabstract(thing)
    ]
    assert all(MODELS.get(loss.__name__) is loss for loss in found)
    assert len(found) == int(file.endswith('_loss'))
