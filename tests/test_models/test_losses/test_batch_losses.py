"""Losses over the pairs of a batch, against loops and against pytorch-metric-learning."""

from __future__ import annotations

import inspect
import math
import sys

import pytest
import torch
from pytorch_metric_learning import losses as library
from pytorch_metric_learning import miners
from torch.nn import functional as F

from fusionreid.models.losses import (
    BatchHardTripletLoss,
    CenterLoss,
    MetricLoss,
    SupConLoss,
    WeightedTripletLoss,
    supcon_loss,
    weighted_triplet_loss,
)

IDS = [0, 0, 0, 1, 1, 2, 2, 2, 2, 3, 4, 4]  # identity 3 has a single image


def naive_weighted_triplet(features: torch.Tensor, ids: list[int]) -> float:
    losses = []
    for anchor, person in zip(features.tolist(), ids, strict=True):
        far: list[float] = []
        near: list[float] = []
        for other, identity in zip(features.tolist(), ids, strict=True):
            (far if identity == person else near).append(math.dist(anchor, other))
        if near:
            pulls, pushes = [math.exp(d) for d in far], [math.exp(-d) for d in near]
            pull = sum(w * d for w, d in zip(pulls, far, strict=True)) / sum(pulls)
            push = sum(w * d for w, d in zip(pushes, near, strict=True)) / sum(pushes)
            losses.append(math.log1p(math.exp(pull - push)))
    return sum(losses) / len(losses)


def naive_supcon(features: torch.Tensor, ids: list[int], temperature: float) -> float:
    losses = []
    unit = F.normalize(features)
    for row in range(len(ids)):
        others = [each for each in range(len(ids)) if each != row]
        raised = {each: math.exp(float(unit[row] @ unit[each]) / temperature) for each in others}
        same = [each for each in others if ids[each] == ids[row]]
        if same:
            logs = [math.log(raised[each] / sum(raised.values())) for each in same]
            losses.append(-sum(logs) / len(logs))
    return sum(losses) / len(losses)


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.bfloat16])
def test_against_loops(dtype):
    features, ids = torch.randn(len(IDS), 5).to(dtype), torch.tensor(IDS)
    weighted, contrast = weighted_triplet_loss(features, ids), supcon_loss(features, ids, 0.2)
    assert weighted.dtype == contrast.dtype == torch.promote_types(dtype, torch.float32)
    wide = features.double()
    assert weighted.item() == pytest.approx(naive_weighted_triplet(wide, IDS), rel=1e-4)
    assert contrast.item() == pytest.approx(naive_supcon(wide, IDS, 0.2), rel=1e-4)


def test_against_the_library():
    features, ids = torch.randn(len(IDS), 5), torch.tensor(IDS)
    torch.testing.assert_close(
        supcon_loss(features, ids, 0.1), library.SupConLoss(temperature=0.1)(features, ids)
    )
    # Ours counts an anchor among its positives, which matters for identity 3 alone.
    keep = ids != 3
    mined = MetricLoss(
        'TripletMarginLoss',
        dict(margin=0.3),
        miner='BatchHardMiner',
        distance='LpDistance',
        distance_args=dict(normalize_embeddings=False),
        reducer='MeanReducer',
    )
    torch.testing.assert_close(
        mined(features[keep], ids[keep]), BatchHardTripletLoss(0.3)(features[keep], ids[keep])
    )


@pytest.mark.parametrize('loss', [weighted_triplet_loss, supcon_loss])
@pytest.mark.parametrize('ids', [[7], [7, 7, 7], [1, 2, 3]])
def test_odd_batches_have_finite_gradients(loss, ids):
    for features in (torch.randn(len(ids), 3), torch.ones(len(ids), 3)):
        features.requires_grad_()
        value = loss(features, torch.tensor(ids))
        value.backward()
        assert value.isfinite()
        assert features.grad.isfinite().all()
    nobody_to_compare = len(set(ids)) == (1 if loss is weighted_triplet_loss else len(ids))
    assert (value.item() == 0) == nobody_to_compare


def test_centers_move_as_in_the_paper():
    loss = CenterLoss(num_classes=5, in_channels=3, rate=0.25, loss_weight=2.0)
    loss.centers.normal_()
    before = loss.centers.clone()
    features, ids = torch.randn(len(IDS), 3, requires_grad=True), torch.tensor(IDS)
    value = loss(features, ids)
    expected = [math.dist(f, before[i]) ** 2 / 2 for f, i in zip(features.tolist(), IDS)]  # noqa: B905
    assert value.item() == pytest.approx(2 * sum(expected) / len(IDS), rel=1e-5)
    for person in range(5):
        own = [features[row] for row, each in enumerate(IDS) if each == person]
        move = sum(before[person] - each for each in own) / (1 + len(own))
        torch.testing.assert_close(loss.centers[person], before[person] - 0.25 * move)
    value.backward()
    torch.testing.assert_close(features.grad, 2 * (features.detach() - before[ids]) / len(IDS))
    moved = loss.centers.clone()
    loss.eval()(features, ids)
    assert torch.equal(loss.centers, moved)
    assert not list(loss.parameters())


def test_every_loss_and_miner_that_the_library_lists():
    features, ids = torch.randn(12, 6, requires_grad=True), torch.arange(12) // 3
    required = dict(RankedListLoss=dict(margin=0.5, Tn=10.0))
    with pytest.raises(
        ValueError, match="no 'Nothing' among the losses.*: give one of Ang"
    ) as found:
        MetricLoss('Nothing')
    names = str(found.value).partition('give one of ')[2].split(', ')
    assert len(names) > 30
    for name in names:
        loss = MetricLoss(name, required.get(name), num_classes=4, in_channels=6)
        value = loss(features, ids)
        assert value.ndim == 0 and value.isfinite(), name  # noqa: PT018
        value.backward()
    direct = library.MultiSimilarityLoss(alpha=3.0)
    pairs = miners.MultiSimilarityMiner()(features, ids)
    ours = MetricLoss('MultiSimilarityLoss', dict(alpha=3.0), 'MultiSimilarityMiner', loss_weight=2)
    torch.testing.assert_close(ours(features, ids), 2 * direct(features, ids, pairs))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(loss='CrossBatchMemory'), "no 'CrossBatchMemory'"),
        (dict(loss='BaseMetricLossFunction'), "no 'BaseMetricLossFunction'"),
        (dict(loss='torch'), "no 'torch' among the losses"),
        (dict(loss='NCALoss', miner='os'), "no 'os' among the miners"),
        (dict(loss='NCALoss', distance='LpDistance', distance_args=dict(x=1)), 'x'),
        (dict(loss='NCALoss', loss_args=dict(scale=3)), 'cannot build NCALoss with'),
        (dict(loss='ProxyAnchorLoss'), 'num_classes'),
        (dict(loss='NCALoss', mining='everywhere'), 'everywhere'),
    ],
)
def test_wrong_settings_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        MetricLoss(**arguments)


def test_without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, 'pytorch_metric_learning', None)
    monkeypatch.delitem(sys.modules, 'pytorch_metric_learning.losses')
    with pytest.raises(ValueError, match='pip install pytorch-metric-learning'):
        MetricLoss('NCALoss')


@pytest.mark.parametrize(
    ('kind', 'arguments'),
    [
        (CenterLoss, dict(num_classes=2, in_channels=2, rate=0.0)),
        (SupConLoss, dict(temperature=0.0)),
        (SupConLoss, dict(mining='all')),
        (WeightedTripletLoss, dict(mining='all')),
    ],
)
def test_values_out_of_range(kind, arguments):
    assert inspect.isclass(kind)
    with pytest.raises(ValueError, match=r'0\.0|all'):
        kind(**arguments)
