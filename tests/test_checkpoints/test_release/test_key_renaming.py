from __future__ import annotations

import pytest
import torch

from fusionreid.checkpoints.release import convert_original_state
from fusionreid.cli.benchmarks.golden_values import reference_state


def test_original_names_that_are_unknown_are_named():
    state = reference_state('r50_only')
    state['detector.rpn.weight'] = torch.zeros(1)
    with pytest.raises(KeyError, match=r'resnet\.detector\.rpn\.weight|detector\.rpn\.weight'):
        convert_original_state(state)
