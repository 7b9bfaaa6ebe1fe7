from __future__ import annotations

import pytest
import timm
import torch
from mmpretrain.models.backbones import ConvNeXt

from fusionreid.models import BackboneAdapter, FusionReID, build_on_meta
from fusionreid.registry import MODELS
from fusionreid.structures import ReIDDataSample

TINY_VIT = dict(embed_dims=24, num_layers=2, num_heads=3, feedforward_channels=48)
CONVNEXT = dict(
    type='mmpretrain.ConvNeXt', arch=dict(depths=[1, 1, 1, 1], channels=[8, 16, 24, 32])
)
SWIN = dict(
    type='mmpretrain.SwinTransformer',
    arch=dict(embed_dims=8, depths=[1, 1, 1, 1], num_heads=[1, 2, 2, 2]),
)
TIMM_VIT = dict(type='timm', model_name='vit_small_patch16_224', embed_dim=24, depth=2, num_heads=3)
TIMM_SWIN = dict(
    type='timm',
    model_name='swin_tiny_patch4_window7_224',
    embed_dim=8,
    depths=(1, 1, 1, 1),
    num_heads=(1, 2, 2, 2),
)
TIMM_CONVNEXT = dict(
    type='timm', model_name='convnext_atto', depths=(1, 1, 1, 1), dims=(8, 16, 24, 32)
)
# Backbone, channels, grid at 128x64, class token.
NETWORKS = {
    'mmpretrain ConvNeXt': (CONVNEXT, 32, (4, 2), False),
    'mmpretrain ConvNeXt, third stage': (CONVNEXT | dict(out_indices=2), 24, (8, 4), False),
    'mmpretrain Swin': (SWIN, 64, (4, 2), False),
    'mmpretrain ViT': (dict(type='mmpretrain.VisionTransformer', arch=TINY_VIT), 24, (8, 4), True),
    'mmpretrain DeiT': (
        dict(type='mmpretrain.DistilledVisionTransformer', arch=TINY_VIT),
        24,
        (8, 4),
        True,
    ),
    'mmpretrain ResNet': (dict(type='mmpretrain.ResNet', depth=18), 512, (4, 2), False),
    'timm ViT-S': (TIMM_VIT, 24, (8, 4), True),
    'timm Swin': (TIMM_SWIN, 64, (4, 2), False),
    'timm ConvNeXt': (TIMM_CONVNEXT, 32, (4, 2), False),
    'timm ResNet, stride 16': (
        dict(type='timm', model_name='resnet18', output_stride=16),
        512,
        (8, 4),
        False,
    ),
}


def adapt(backbone: dict, **kwargs) -> BackboneAdapter:
    return BackboneAdapter(backbone, **(dict(img_size=(128, 64)) | kwargs)).eval()


@pytest.mark.parametrize(
    ('backbone', 'channels', 'grid', 'has_token'), NETWORKS.values(), ids=list(NETWORKS)
)
def test_width_grid_and_token_are_those_of_the_network(backbone, channels, grid, has_token):
    adapter = adapt(backbone)
    assert (adapter.out_channels, adapter.grid, adapter.has_class_token) == (
        channels,
        grid,
        has_token,
    )
    token, feature_map = adapter(torch.randn(2, 3, 128, 64), torch.tensor([0, -1]))
    assert feature_map.shape == (2, channels, *grid)
    assert token.shape == (2, channels) if has_token else token is None
    assert adapter.train().training
    assert adapter.model.training


@pytest.mark.parametrize(('cnn', 'transformer'), [(CONVNEXT, SWIN), (TIMM_CONVNEXT, TIMM_VIT)])
def test_two_adapted_branches_train(cnn, transformer):
    def branch(backbone, **kwargs):
        adapted = dict(type='BackboneAdapter', backbone=backbone, img_size=(128, 64))
        return dict(backbone=adapted, **kwargs)

    pooling = dict(type='GeMPooling')
    model = FusionReID(
        dict(
            cnn=branch(cnn, pooling=pooling),
            transformer=branch(transformer, pooling=pooling if transformer is SWIN else None),
        ),
        dict(type='BNNeckHead', num_classes=2),
        dict(type='DualAttentionMutualFusion', embed_dims=24, num_layers=1, num_heads=3),
    )
    model.init_weights()
    samples = [ReIDDataSample(metainfo=dict(person_id=row // 2, camera_id=row)) for row in range(4)]
    sum(model(torch.randn(4, 3, 128, 64), samples, mode='loss').values()).backward()
    idle = [name for name, w in model.named_parameters() if w.requires_grad and w.grad is None]
    assert idle == []
    assert model.num_cameras == 0


def test_a_transformer_without_class_token_asks_for_pooling():
    adapted = dict(type='BackboneAdapter', backbone=SWIN, img_size=(128, 64))
    with pytest.raises(ValueError, match=r"no class token: add pooling=dict\(type='GeMPooling'\)"):
        FusionReID(dict(transformer=dict(backbone=adapted)))(torch.zeros(1, 3, 128, 64))


@torch.no_grad()
def test_timm_vit_gives_the_normed_tokens():
    adapter = adapt(TIMM_VIT)
    images = torch.randn(2, 3, 128, 64)
    tokens = adapter.model.forward_features(images)
    token, feature_map = adapter(images)
    torch.testing.assert_close(token, tokens[:, 0])
    torch.testing.assert_close(feature_map.flatten(2).transpose(1, 2), tokens[:, 1:])


@torch.no_grad()
def test_timm_swin_gives_the_map_with_channels_first():
    adapter = adapt(TIMM_SWIN)
    images = torch.randn(2, 3, 128, 64)
    expected = adapter.model.forward_features(images).permute(0, 3, 1, 2)
    torch.testing.assert_close(adapter(images)[1], expected)


@torch.no_grad()
def test_mmpretrain_vit_equals_ours():
    adapter = adapt(dict(type='mmpretrain.VisionTransformer', arch=TINY_VIT))
    ours = MODELS.build(dict(type='ReIDVisionTransformer', arch=TINY_VIT, img_size=(128, 64)))
    ours.eval().load_state_dict(adapter.model.state_dict())
    images = torch.randn(2, 3, 128, 64)
    torch.testing.assert_close(adapter(images), ours(images))


@torch.no_grad()
def test_mmpretrain_convnext_keeps_the_map_that_it_would_pool():
    adapter = adapt(CONVNEXT)
    theirs = ConvNeXt(arch=CONVNEXT['arch'], gap_before_final_norm=False)
    theirs.eval()
    theirs.load_state_dict(adapter.model.state_dict())
    images = torch.randn(2, 3, 128, 64)
    torch.testing.assert_close(adapter(images)[1], theirs(images)[-1])


def test_cnns_take_any_size_and_transformers_name_theirs():
    assert adapt(CONVNEXT)(torch.zeros(1, 3, 256, 128))[1].shape == (1, 32, 8, 4)
    adapter = adapt(dict(type='mmpretrain.VisionTransformer', arch=TINY_VIT))
    with pytest.raises(
        ValueError, match=r'on images of \(256, 128\) pixels, built for \(128, 64\)'
    ):
        adapter(torch.zeros(1, 3, 256, 128))


@pytest.mark.parametrize('backbone', [TIMM_VIT, TIMM_CONVNEXT])
def test_weights_that_timm_has_loaded_are_not_initialized_again(backbone):
    adapter = adapt(backbone)
    before = {name: value.clone() for name, value in adapter.state_dict().items()}
    adapter.init_weights()
    torch.testing.assert_close(adapter.state_dict(), before)


@pytest.mark.parametrize(
    ('backbone', 'message'),
    [
        (dict(type='timm', model_name='osnet_x1_0'), "timm .* has no network 'osnet_x1_0'"),
        (dict(type='timm'), 'has no network None'),
        (
            dict(type='timm', model_name='convit_tiny'),
            r'convit_tiny cannot encode images of \(128, 64\) pixels: The expanded size',
        ),
        (CONVNEXT | dict(gap_before_final_norm=True), r'\(1, 32\), expected a map'),
        (
            dict(type='mmpretrain.VisionTransformer', arch=TINY_VIT, out_type='avg_featmap'),
            'does the config pool it',
        ),
        (dict(type='mmpretrain.MlpMixer', arch='base', img_size=224), 'do not lie on a grid'),
    ],
)
def test_what_cannot_be_read_is_named(backbone, message):
    size = (224, 224) if backbone['type'].endswith('MlpMixer') else (128, 64)
    with pytest.raises(ValueError, match=message):
        adapt(backbone, img_size=size)


@pytest.mark.parametrize(
    ('backbone', 'has_token'),
    [
        (dict(type='mmpretrain.EfficientNet', arch='b0'), False),
        (dict(type='mmpretrain.HRNet', arch='w18'), False),
        (dict(type='mmpretrain.DaViT', arch='tiny'), False),
        (dict(type='mmpretrain.DeiT3', arch='small'), True),
        (
            dict(type='mmpretrain.TIMMBackbone', model_name='resnet18', features_only=True),
            False,
        ),
        (dict(type='timm', model_name='beit_base_patch16_224'), True),
        (dict(type='timm', model_name='cait_xxs24_224'), False),
        (dict(type='timm', model_name='deit3_small_patch16_224'), True),
        (dict(type='timm', model_name='efficientnet_b0'), False),
        (dict(type='timm', model_name='eva02_small_patch14_224'), True),
        (dict(type='timm', model_name='regnetx_004'), False),
        (dict(type='timm', model_name='swinv2_tiny_window8_256'), False),
        (dict(type='timm', model_name='vit_medium_patch16_reg4_gap_256'), False),
        (dict(type='timm', model_name='xcit_nano_12_p16_224'), False),
    ],
    ids=lambda value: value.get('model_name', value['type']) if isinstance(value, dict) else '',
)
@pytest.mark.slow
def test_families_at_256x128_on_meta(backbone, has_token):
    adapter = build_on_meta(dict(type='BackboneAdapter', backbone=backbone))
    token, feature_map = adapter(torch.zeros(2, 3, 256, 128, device='meta'))
    assert feature_map.shape == (2, adapter.out_channels, *adapter.grid)
    assert adapter.has_class_token == has_token == (token is not None)
    if backbone['type'] == 'timm':
        info = timm.create_model(backbone['model_name'], pretrained=False).feature_info[-1]
        assert adapter.out_channels == info['num_chs']
