"""Position embeddings: which grid they have, and how they are resized to another one."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from fusionreid.models.layers.position_embedding import fit_position_embedding, guess_grid


def test_guess_grid():
    assert guess_grid(128, (16, 8)) == (16, 8)
    assert guess_grid(196, (16, 8)) == (14, 14)
    assert guess_grid(210, (31, 10)) == (21, 10)
    assert guess_grid(310, (21, 10)) == (31, 10)
    # The published sizes, whatever they are resized to.
    assert guess_grid(210, (24, 8)) == guess_grid(210, (14, 14)) == (21, 10)
    assert guess_grid(128, (8, 4)) == (16, 8)
    assert guess_grid(192, (16, 8)) == (24, 8)
    # Other sizes: the same shape, larger or smaller.
    assert guess_grid(32, (16, 8)) == (8, 4)
    assert guess_grid(512, (16, 8)) == (32, 16)
    assert guess_grid(96, (24, 8)) in ((16, 6), (24, 4))


def test_position_embedding_is_resized_bilinearly():
    embedding = torch.randn(1, 1 + 14 * 14, 5)
    fitted = fit_position_embedding(embedding, (16, 8), (16, 8))
    square = embedding[:, 1:].reshape(1, 14, 14, 5).permute(0, 3, 1, 2)
    expected = F.interpolate(square, size=(16, 8), mode='bilinear', align_corners=False)
    torch.testing.assert_close(fitted[:, 1:], expected.flatten(2).transpose(1, 2))
    torch.testing.assert_close(fitted[:, :1], embedding[:, :1])
    assert fit_position_embedding(fitted, (16, 8), (16, 8)) is fitted
