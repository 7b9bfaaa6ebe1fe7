"""Batch norms with statistics of their own for each data set."""

from __future__ import annotations

import copy

import pytest
import torch
from small_models import assert_same
from torch import nn

from fusionreid.models.backbones import ReIDResNet
from fusionreid.models.layers.activation_checkpointing import run_checkpointed
from fusionreid.models.layers.domain_batch_norm import DomainBatchNorm, tell_sets
from fusionreid.structures import ReIDDataSample

NAMES = ('street', 'mall', 'night')


def make(scored_as: str | None = None) -> DomainBatchNorm:
    torch.manual_seed(0)
    norm = DomainBatchNorm(4, NAMES, scored_as)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm


def plain_of(norm: DomainBatchNorm) -> nn.BatchNorm2d:
    plain = nn.BatchNorm2d(4)
    plain.load_state_dict(norm.state_dict(), strict=False)
    return plain


def test_one_set_is_a_plain_batch_norm():
    norm = DomainBatchNorm(4, NAMES[:1])
    plain = plain_of(norm)
    norm.sets = torch.zeros(6, dtype=torch.long)
    for _ in range(3):
        maps = torch.randn(6, 4, 5, 3) * 2 + 1
        assert torch.equal(norm(maps), plain(maps))
    assert torch.equal(norm.running_var, plain.running_var)
    assert torch.equal(norm.eval()(maps), plain.eval()(maps))


def test_each_set_is_normalized_alone():
    norm, maps = make(), torch.randn(7, 4, 5, 3)
    sets = torch.tensor([2, 0, 2, 0, 0, 2, 2])
    maps = maps + sets[:, None, None, None] * 5
    alone = {each: plain_of(norm) for each in (0, 2)}
    norm.sets = sets
    maps.requires_grad_()
    normalized = norm(maps)
    for each, plain in alone.items():
        torch.testing.assert_close(normalized[sets == each], plain(maps[sets == each]))
        torch.testing.assert_close(norm.set_means[each], plain.running_mean)
        torch.testing.assert_close(norm.set_vars[each], plain.running_var)
    assert norm.set_means[1].eq(0).all()  # nothing was seen of it
    # Together they are those of images that come from each set equally often.
    torch.testing.assert_close(norm.running_mean, norm.set_means.mean(0))
    second = (norm.set_vars + norm.set_means**2).mean(0)
    torch.testing.assert_close(norm.running_var, second - norm.set_means.mean(0) ** 2)
    normalized.sum().backward()
    assert maps.grad.shape == maps.shape


def test_scoring_uses_all_sets_or_a_named_one():
    norm, maps = make(), torch.randn(6, 4, 5, 3)
    norm.sets = torch.tensor([0, 1, 2, 0, 1, 2])
    norm(maps + norm.sets[:, None, None, None])
    named = make('night')
    named.load_state_dict(norm.state_dict())
    plain = plain_of(norm)
    assert torch.equal(norm.eval()(maps), plain.eval()(maps))
    plain.running_mean, plain.running_var = norm.set_means[2], norm.set_vars[2]
    assert torch.equal(named.eval()(maps), plain(maps))
    assert not torch.equal(named(maps), norm(maps))


def test_weights_of_plain_batch_norms_are_read():
    plain = ReIDResNet(18, base_channels=8, stem_channels=8)
    with torch.no_grad():
        plain(torch.randn(4, 3, 64, 32))  # in training mode: it has seen something
    wanted = plain.state_dict()
    model = ReIDResNet(18, base_channels=8, stem_channels=8, domain_norm=NAMES)
    model.load_state_dict(wanted)
    found = model.state_dict()
    assert_same({name: found[name] for name in wanted}, wanted)
    assert torch.equal(found['bn1.set_means'], wanted['bn1.running_mean'].expand(3, -1))
    images = torch.randn(2, 3, 64, 32)
    assert torch.equal(model.eval()(images)[1], plain.eval()(images)[1])
    again = ReIDResNet(18, base_channels=8, stem_channels=8, domain_norm=NAMES)
    again.load_state_dict(found)
    assert_same(again.state_dict(), found)


def test_recomputation_counts_once():
    images = torch.randn(6, 4, 5, 3, requires_grad=True)
    first, second = (nn.Sequential(make(), nn.ReLU()) for _ in range(2))
    samples = [ReIDDataSample(metainfo=dict(set_id=i % 3)) for i in range(6)]
    for model in (first, second):
        tell_sets(model, samples)
    first(images).sum().backward()
    run_checkpointed(second, images).sum().backward()
    assert_same(second.state_dict(), first.state_dict())
    assert torch.equal(first[0].weight.grad, second[0].weight.grad)


def test_with_instance_norm_and_in_a_copy():
    model = ReIDResNet(18, base_channels=8, stem_channels=8, ibn=True, domain_norm=NAMES)
    norms = [each for each in model.modules() if isinstance(each, nn.BatchNorm2d)]
    assert {type(each) for each in norms} == {DomainBatchNorm}
    average = copy.deepcopy(model)  # as EMA makes it
    samples = [ReIDDataSample(metainfo=dict(set_id=0))] * 2
    tell_sets(model, samples)
    model(torch.randn(2, 3, 64, 32))
    assert average.bn1.sets is None
    assert average.bn1.set_means.eq(0).all()
    assert not model.bn1.set_means.eq(0).all()


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match="scored_as must be one of .*got 'moon'"):
        ReIDResNet(18, domain_norm=NAMES, scored_as='moon')
    with pytest.raises(ValueError, match='name each data set once'):
        ReIDResNet(18, domain_norm=('street', 'street'))
    with pytest.raises(ValueError, match='need to know the set'):
        make()(torch.randn(2, 4, 5, 3))
    with pytest.raises(
        ValueError, match=r'sets street, mall, night, got images of the sets \[-1\]'
    ):
        tell_sets(make(), [ReIDDataSample()] * 2)
    with pytest.raises(ValueError, match=r'images of the sets \[3\]'):
        tell_sets(make(), [ReIDDataSample(metainfo=dict(set_id=3))])
