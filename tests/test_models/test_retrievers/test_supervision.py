"""Which features get which losses, with which weights."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from fusionreid.errors import ConfigError
from fusionreid.explain import class_relevance
from fusionreid.models import BNNeckHead, FusionReID
from fusionreid.structures import ReIDDataSample

CNN = dict(
    backbone=dict(type='ReIDResNet', depth=18, base_channels=8, stem_channels=8),
    pooling=dict(type='GeMPooling'),
)
HEAD = dict(type='BNNeckHead', num_classes=4)
CENTER = dict(loss_center=dict(type='CenterLoss'))


def build(**kwargs: Any) -> FusionReID:
    torch.manual_seed(0)
    return FusionReID(branches=dict(cnn=CNN, other=CNN), **(dict(head=HEAD) | kwargs))


def losses(model: FusionReID) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    samples = [
        ReIDDataSample(metainfo=dict(camera_id=0, person_id=person)) for person in (0, 0, 1, 3)
    ]
    return model(torch.randn(4, 3, 64, 32), samples, mode='loss')


def untrained(model: FusionReID) -> list[str]:
    sum(losses(model).values()).backward()
    return [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]


def test_further_losses_and_another_classifier_in_all_heads():
    margin = dict(type='CosFaceClassifier', scale=16.0, margin=0.2)
    head = HEAD | dict(metric_losses=CENTER | dict(loss_none=None), classifier=margin)
    model = build(head=head)
    assert list(losses(model)) == [
        f'{feature}.{loss}'
        for feature in ('cnn', 'other')
        for loss in ('loss_id', 'loss_triplet', 'loss_center')
    ]
    assert untrained(model) == []
    assert model.heads['cnn'].metric_losses['loss_center'].centers.shape == (4, 64)
    images = torch.randn(2, 3, 64, 32)
    maps = class_relevance(model.eval(), images, torch.tensor([0, 1]), ['cnn'], 'gradcam')
    assert maps['cnn'].shape == (2, 64, 32)


def test_the_published_terms_stay_as_they_are():
    plain = losses(build())
    changed = losses(build(supervision=dict(other=dict(metric_losses=CENTER, loss_weight=0.5))))
    assert changed.keys() - plain.keys() == {'other.loss_center'}
    for name, value in plain.items():
        weight = 0.5 if name.startswith('other') else 1
        torch.testing.assert_close(changed[name], weight * value)


@pytest.mark.parametrize(
    ('change', 'names'),
    [
        (None, []),
        (dict(loss_id=False), ['loss_triplet']),
        (dict(loss_triplet=False), ['loss_id']),
        (dict(loss_id=False, loss_triplet=False, metric_losses=CENTER), ['loss_center']),
    ],
)
def test_a_feature_has_the_losses_that_it_is_given(change, names):
    model = build(supervision=dict(other=change))
    found = losses(model)
    assert [name for name in found if name.startswith('other')] == [f'other.{n}' for n in names]
    # Without a loss of its own nothing trains what only this feature is made of.
    left = untrained(model)
    assert all(name.startswith('branches.other') for name in left)
    assert bool(left) == (change is None)
    assert model.num_classes == 4


def test_what_lacks_a_head_or_classifier_is_said():
    model = build(supervision=dict(other=None))
    with pytest.raises(ValueError, match="bnneck='after' needs a head.*: other has none"):
        build(supervision=dict(other=None), bnneck='after')
    with pytest.raises(ValueError, match="bnneck='after' needs a head"):
        build(head=None, bnneck='after')
    images = torch.randn(1, 3, 64, 32)
    with pytest.raises(ValueError, match=r"no classifier scores 'other': give some of \['cnn'\]"):
        class_relevance(model.eval(), images, None, ['other'], 'gradcam')


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(supervision=dict(cnn_fused=None)), "'cnn_fused', which is no feature"),
        (dict(supervision=dict(cnn=None, other=None)), 'leaves no feature a head'),
        (dict(supervision=dict(cnn=None), head=None), 'model.head, which is None'),
        (dict(supervision=dict(cnn=dict(loss_id=False, loss_triplet=False))), 'supervises nothing'),
        (dict(uncertainty_weighting=True, head=None), 'needs a head'),
    ],
)
def test_wrong_settings_are_named(arguments, message):
    with pytest.raises(ConfigError, match=message):
        build(**arguments)


def test_learned_weights_begin_with_the_sum_and_follow_the_paper():
    plain = losses(build())
    model = build(uncertainty_weighting=True)
    for name, value in losses(model).items():
        torch.testing.assert_close(value, plain[name])
    assert untrained(model) == []
    gradient = model.loss_weighting.log_variances.grad
    for found, loss in zip(gradient.tolist(), plain.values(), strict=True):
        assert found == pytest.approx(0.5 - loss.item(), rel=1e-4)
    model.loss_weighting.log_variances.data.fill_(1.0)
    for name, value in losses(model).items():
        expected = math.exp(-1) * plain[name].item() + 0.5
        assert value.item() == pytest.approx(expected, rel=1e-4)


def test_a_checkpoint_from_before_is_read():
    """The state dict of the usual head has the names that it always had."""
    assert sorted(BNNeckHead(8, 3).state_dict()) == [
        'bnneck.bias',
        'bnneck.num_batches_tracked',
        'bnneck.running_mean',
        'bnneck.running_var',
        'bnneck.weight',
        'classifier.weight',
    ]
