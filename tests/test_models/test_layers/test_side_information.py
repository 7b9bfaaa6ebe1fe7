"""The side information embedding, for known and unknown cameras."""

from __future__ import annotations

import pytest
import torch

from fusionreid.models.layers.side_information import SideInformationEmbedding


def test_side_information_embedding():
    sie = SideInformationEmbedding(4, 6, coefficient=3.0)
    embedded = sie(torch.tensor([3, -1]))
    assert embedded.shape == (2, 1, 6)
    torch.testing.assert_close(embedded[0, 0], 3 * sie.weight[3])
    torch.testing.assert_close(embedded[1, 0], 3 * sie.weight.mean(0))
    with pytest.raises(ValueError, match='num_cameras=0'):
        SideInformationEmbedding(0, 6)
