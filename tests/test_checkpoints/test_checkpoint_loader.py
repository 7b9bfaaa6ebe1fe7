"""MMEngine finds the weights of a file under whatever name other projects keep them."""

from __future__ import annotations

import pytest
import torch
from mmengine.runner import load_checkpoint

from fusionreid.checkpoints.checkpoint_loader import load_from_weight_file


@pytest.mark.parametrize('wrapper', ['', 'state_dict', 'model', 'teacher'])
def test_weights_are_loaded_from_under_their_wrapper(tmp_path, wrapper):
    source, target = torch.nn.Linear(2, 3), torch.nn.Linear(2, 3)
    state = source.state_dict()
    torch.save({wrapper: state, 'epoch': 3} if wrapper else state, tmp_path / 'weights.pth')
    load_checkpoint(target, str(tmp_path / 'weights.pth'), map_location='cpu')
    torch.testing.assert_close(target.weight, source.weight, rtol=0, atol=0)
    torch.testing.assert_close(target.bias, source.bias, rtol=0, atol=0)


def test_what_lies_beside_the_weights_is_kept(tmp_path):
    torch.save({'model': {'weight': torch.ones(2)}, 'epoch': 3}, tmp_path / 'weights.pth')
    content = load_from_weight_file(str(tmp_path / 'weights.pth'))
    assert content['epoch'] == 3
    assert content['state_dict']['weight'].tolist() == [1, 1]
