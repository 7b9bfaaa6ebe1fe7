"""What mmdet's trackers ask of a ReID model, without mmdet."""

from __future__ import annotations

import copy

import pytest
import torch
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import DefaultScope
from small_models import SMALL_CNN, SMALL_VIT, build_random, fusion_model

from fusionreid.errors import WeightsError
from fusionreid.models import FusionReID, TrackerReID

SIZE = (64, 32)
MODEL = fusion_model(SMALL_CNN, {**SMALL_VIT, 'img_size': SIZE})
FEATURES = ['cnn', 'transformer', 'cnn_refined', 'transformer_refined', 'cnn_fused']


@pytest.fixture(scope='module')
def trained(tmp_path_factory) -> tuple[FusionReID, str]:
    model = build_random(MODEL)
    path = tmp_path_factory.mktemp('weights') / 'trained.pth'
    torch.save(dict(state_dict=model.state_dict()), path)
    return model, str(path)


def build(path: str, kind: str = 'Pretrained', **settings) -> TrackerReID:
    """Build as mmdet does: in its scope, and without a call of ``init_weights``."""
    cfg = {
        **copy.deepcopy(MODEL),
        'type': 'TrackerReID',
        '_scope_': 'fusionreid',
        'init_cfg': dict(type=kind, checkpoint=path),
        **settings,
    }
    with DefaultScope.overwrite_default_scope('mmengine'):
        return ROOT_MODELS.build(cfg).eval()


@pytest.mark.parametrize('kind', ['Pretrained', 'fusionreid.Pretrained'])
@torch.no_grad()
def test_crops_become_unit_vectors_of_the_trained_model(trained, kind):
    model, path = trained
    reid, crops = build(path, kind), torch.rand(3, 3, *SIZE)
    vectors = reid(crops, mode='tensor')
    expected = torch.nn.functional.normalize(torch.cat(list(model(crops).values()), 1))
    torch.testing.assert_close(vectors, expected)
    assert vectors.shape == (3, reid.head.out_channels)
    # As trackers do where there is no crop, and where there are none left.
    assert crops.new_zeros((0, reid.head.out_channels)).shape == (0, vectors.shape[1])
    assert reid(crops[:0], mode='tensor').shape == (0, vectors.shape[1])
    # A tracker's own init_weights() comes later, and changes nothing.
    with DefaultScope.overwrite_default_scope('mmengine'):
        reid.init_weights()
    torch.testing.assert_close(reid(crops, mode='tensor'), expected)


@torch.no_grad()
def test_a_single_feature_and_features_after_the_bnneck(trained):
    model, path = trained
    crops = torch.rand(2, 3, *SIZE)
    single = build(path, feature='cnn_fused', head=None)
    expected = torch.nn.functional.normalize(model(crops)['cnn_fused'])
    torch.testing.assert_close(single(crops, mode='tensor'), expected)
    assert single.head.out_channels == expected.shape[1] == 24
    model.bnneck = 'after'
    try:
        features = model.scored_features(crops)
    finally:
        model.bnneck = 'before'
    after = build(path, bnneck='after')
    expected = torch.nn.functional.normalize(torch.cat(list(features.values()), 1))
    torch.testing.assert_close(after(crops, mode='tensor'), expected)
    assert after.heads
    assert after(crops, mode='predict')[0].features


def test_what_cannot_be_is_refused_when_the_model_is_built(trained, tmp_path):
    model, path = trained
    with pytest.raises(ValueError, match=r"feature 'cnn_fusd' is unknown.*'cnn_fused'"):
        build(path, feature='cnn_fusd')
    state = model.state_dict()
    torch.save({name: state[name] for name in list(state)[5:]}, tmp_path / 'part.pth')
    with pytest.raises(WeightsError, match=r'part.pth: does not fit TrackerReID: .* is missing'):
        build(str(tmp_path / 'part.pth'))
    with pytest.raises(WeightsError, match='there is no such file'):
        build(str(tmp_path / 'none.pth'))
