"""Classifiers with a margin against their formulas, a loop over images and identities."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from fusionreid.models.heads import (
    ArcFaceClassifier,
    CircleClassifier,
    CosFaceClassifier,
    LinearClassifier,
)

KINDS = [ArcFaceClassifier, CircleClassifier, CosFaceClassifier]


def expected(kind: type, cosine: float, own: bool, scale: float, margin: float) -> float:
    if kind is CircleClassifier:
        if own:
            return scale * max(0.0, 1 + margin - cosine) * (cosine - 1 + margin)
        return scale * max(0.0, cosine + margin) * (cosine - margin)
    if not own:
        return scale * cosine
    if kind is CosFaceClassifier:
        return scale * (cosine - margin)
    angle = math.acos(cosine) + margin
    return scale * (math.cos(angle) if angle < math.pi else cosine - margin * math.sin(margin))


@pytest.mark.parametrize('margin', [0.0, 0.3, 0.9])
@pytest.mark.parametrize('kind', KINDS)
def test_against_a_loop(kind, margin):
    classifier = kind(in_channels=2, num_classes=9, scale=7.0, margin=margin).double()
    features, ids = torch.randn(40, 2, dtype=torch.float64), torch.arange(40) % 9
    scores = classifier(features, ids)
    for row, feature in enumerate(features):
        for person, direction in enumerate(classifier.weight):
            cosine = F.cosine_similarity(feature, direction, dim=0).item()
            own = person == ids[row]
            wanted = expected(kind, cosine, own, 7.0, margin)
            assert scores[row, person].item() == pytest.approx(wanted, abs=1e-6)
    torch.testing.assert_close(
        classifier(features), 7.0 * F.normalize(features) @ F.normalize(classifier.weight).t()
    )


@pytest.mark.parametrize('kind', KINDS)
def test_gradients_are_finite_at_the_ends(kind):
    classifier = kind(in_channels=2, num_classes=2)
    classifier.weight.data.copy_(torch.eye(2))
    features = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]], requires_grad=True)
    F.cross_entropy(
        classifier(features, torch.tensor([0, 0, 1])), torch.tensor([0, 0, 1])
    ).backward()
    assert features.grad.isfinite().all()
    assert classifier.weight.grad.isfinite().all()


@pytest.mark.parametrize('kind', KINDS)
def test_half_precision_is_computed_in_float32(kind):
    classifier = kind(in_channels=4, num_classes=3)
    features, ids = torch.randn(6, 4).bfloat16(), torch.arange(6) % 3
    with torch.autocast('cpu', torch.bfloat16):
        scores = classifier(features, ids)
    torch.testing.assert_close(scores, classifier(features.float(), ids))
    assert scores.dtype == torch.float32


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('wrong', [dict(scale=0.0), dict(margin=-0.1), dict(margin=1.0)])
def test_values_out_of_range(kind, wrong):
    with pytest.raises(ValueError, match=str(next(iter(wrong.values())))):
        kind(in_channels=2, num_classes=2, **wrong)


def test_the_linear_one_takes_no_notice_of_identities():
    classifier = LinearClassifier(in_channels=4, num_classes=3)
    features = torch.randn(5, 4)
    torch.testing.assert_close(
        classifier(features, torch.zeros(5)), features @ classifier.weight.t()
    )
    assert classifier.bias is None
