from __future__ import annotations

import math

import pytest
import torch

from fusionreid.models.losses import BatchHardTripletLoss, batch_hard_triplet_loss


def naive(features: torch.Tensor, ids: list[int], margin: float | None) -> float:
    """Two loops over the batch."""
    losses = []
    for anchor in range(len(ids)):
        distances = [math.dist(features[anchor].tolist(), other.tolist()) for other in features]
        positives = [d for d, person in zip(distances, ids, strict=True) if person == ids[anchor]]
        negatives = [d for d, person in zip(distances, ids, strict=True) if person != ids[anchor]]
        if negatives:
            gap = max(positives) - min(negatives)
            losses.append(math.log1p(math.exp(gap)) if margin is None else max(0.0, gap + margin))
    return sum(losses) / len(losses) if losses else 0.0


@pytest.mark.parametrize('margin', [None, 0.0, 0.3, 5.0])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_against_loops(margin, dtype):
    features = torch.randn(12, 5).to(dtype)
    ids = [0, 0, 0, 1, 1, 2, 2, 2, 2, 3, 4, 4]
    loss = batch_hard_triplet_loss(features, torch.tensor(ids), margin)
    assert loss.dtype == torch.promote_types(dtype, torch.float32)
    assert loss.item() == pytest.approx(naive(features.float(), ids, margin), rel=1e-4)


def test_gradients_are_finite_with_equal_features():
    features = torch.ones(4, 3, requires_grad=True)
    batch_hard_triplet_loss(features, torch.tensor([0, 0, 1, 1])).backward()
    assert features.grad.isfinite().all()


@pytest.mark.parametrize('ids', [[7], [7, 7, 7]])
def test_without_a_negative_the_loss_is_zero_with_zero_gradient(ids):
    features = torch.randn(len(ids), 3, requires_grad=True)
    loss = batch_hard_triplet_loss(features, torch.tensor(ids))
    loss.backward()
    assert loss.item() == 0
    assert features.grad.isfinite().all()
    assert not features.grad.any()


def test_does_not_depend_on_the_order():
    features, ids = torch.randn(10, 4), torch.arange(10) // 2
    order = torch.randperm(10)
    torch.testing.assert_close(
        batch_hard_triplet_loss(features, ids), batch_hard_triplet_loss(features[order], ids[order])
    )


def test_weight_and_bad_margin():
    features, ids = torch.randn(6, 4), torch.arange(6) // 2
    assert BatchHardTripletLoss(loss_weight=2.0)(features, ids).item() == pytest.approx(
        2 * BatchHardTripletLoss()(features, ids).item()
    )
    with pytest.raises(ValueError, match='got -0.1'):
        BatchHardTripletLoss(margin=-0.1)
