from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from fusionreid.models.backbones import (
    ColorHistogram,
    ReIDResNet,
    ReIDT2TViT,
    ReIDVisionTransformer,
)
from fusionreid.models.backbones.color_histogram import striped_color_histogram

TINY = dict(embed_dims=24, num_layers=2, num_heads=3, feedforward_channels=48)


def tiny_vit(**kwargs) -> ReIDVisionTransformer:
    return ReIDVisionTransformer(**(dict(arch=TINY, img_size=(64, 32)) | kwargs)).eval()


@pytest.mark.parametrize(
    ('size', 'stride', 'grid'),
    [
        ((256, 128), 12, (21, 10)),
        ((384, 128), 12, (31, 10)),
        ((256, 128), 16, (16, 8)),
        ((384, 128), 16, (24, 8)),
    ],
)
def test_vit_grids_of_the_paper(size, stride, grid):
    vit = tiny_vit(img_size=size, patch_stride=stride)
    token, feature_map = vit(torch.randn(1, 3, *size))
    assert token.shape == (1, 24)
    assert feature_map.shape == (1, 24, *grid)


def test_vit_equals_timm_vit():
    import timm

    theirs = timm.models.vision_transformer.VisionTransformer(
        img_size=(64, 32),
        patch_size=16,
        embed_dim=24,
        depth=2,
        num_heads=3,
        mlp_ratio=2,
        num_classes=0,
    ).eval()
    from fusionreid.checkpoints.release.key_renaming import convert_original_state

    state = {f'base.{key}': value for key, value in theirs.state_dict().items()}
    prefix = 'branches.transformer.backbone.'
    ours = tiny_vit()
    ours.load_state_dict(
        {key.removeprefix(prefix): value for key, value in convert_original_state(state).items()}
    )
    images = torch.randn(2, 3, 64, 32)
    tokens = theirs.forward_features(images)
    token, feature_map = ours(images)
    torch.testing.assert_close(token, tokens[:, 0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        feature_map.flatten(2).transpose(1, 2), tokens[:, 1:], atol=1e-5, rtol=1e-5
    )


def test_vit_needs_room_for_a_patch():
    with pytest.raises(ValueError, match='hold no patch of 16 pixels'):
        tiny_vit(img_size=(8, 32))


def test_vit_accepts_another_size_by_resizing_its_positions():
    vit = tiny_vit()
    _, feature_map = vit(torch.randn(1, 3, 96, 48))
    assert feature_map.shape == (1, 24, 6, 3)


@pytest.mark.parametrize('make', [tiny_vit, lambda **k: ReIDT2TViT((64, 32), 48, 1, 3, **k).eval()])
def test_camera_embedding_changes_every_token(make):
    backbone = make(num_cameras=3)
    images = torch.randn(2, 3, 64, 32)
    plain = backbone(images, torch.tensor([0, 2]))
    swapped = backbone(images, torch.tensor([1, 2]))
    assert not torch.allclose(plain[0][0], swapped[0][0])
    torch.testing.assert_close(plain[0][1], swapped[0][1])
    unknown = backbone(images, torch.tensor([-1, -1]))
    torch.testing.assert_close(unknown, backbone(images, None))


def test_checkpoint_of_another_grid_loads():
    state = tiny_vit(img_size=(96, 48), patch_stride=12).state_dict()
    vit = tiny_vit()
    vit.load_state_dict(state)
    assert vit.pos_embed.shape[1] == 1 + 4 * 2


@pytest.mark.slow
@pytest.mark.parametrize('depth', [18, 50])
def test_resnet_with_the_standard_stem_equals_torchvision(depth):
    from torchvision import models

    theirs = getattr(models, f'resnet{depth}')().eval()
    theirs.layer4[0].downsample[0].stride = (1, 1)
    (theirs.layer4[0].conv2 if depth == 50 else theirs.layer4[0].conv1).stride = (1, 1)
    ours = ReIDResNet(depth).eval()
    ours.load_state_dict(theirs.state_dict(), strict=False)
    images = torch.randn(2, 3, 64, 32)
    _, feature_map = ours(images)
    assert feature_map.shape == (2, ours.out_channels, 4, 2)
    torch.testing.assert_close(
        feature_map.mean((2, 3)),
        torch.nn.Sequential(*list(theirs.children())[:-1])(images).flatten(1),
        atol=1e-4,
        rtol=1e-4,
    )


def test_release_stem_has_no_relu_and_an_unpadded_pool():
    images = torch.randn(1, 3, 64, 32)
    release = ReIDResNet(18, stem='release').eval()
    stem = release.norm1(release.conv1(images))
    pooled = F.max_pool2d(stem, 2)
    expected = release.layer4(release.layer3(release.layer2(release.layer1(pooled))))
    torch.testing.assert_close(release(images)[1], expected)
    with pytest.raises(ValueError, match="got 'v2'"):
        ReIDResNet(18, stem='v2')


def test_t2t_scales_token_attention_by_the_input_width():
    t2t = ReIDT2TViT((64, 32), 48, 1, 3).eval()
    tokens = torch.randn(1, 9, 147)
    layer = t2t.tokens_to_token.attention1
    normed = layer.ln1(tokens)
    query, key, value = layer.attn.qkv(normed).split(64, -1)
    attended = (query @ key.transpose(1, 2) * 147**-0.5).softmax(-1) @ value
    expected = layer.attn.proj(attended) + value
    torch.testing.assert_close(layer.attn(normed), expected, atol=1e-5, rtol=1e-4)


def test_t2t_14_and_24_at_other_sizes():
    token, feature_map = ReIDT2TViT((96, 64), 512, 1, 8).eval()(torch.randn(1, 3, 96, 64))
    assert token.shape == (1, 512)
    assert feature_map.shape == (1, 512, 6, 4)
    with pytest.raises(ValueError, match='divisible by 16'):
        ReIDT2TViT((100, 64))


def test_color_histogram_against_a_loop():
    images = torch.randint(0, 256, (2, 3, 9, 4)).float()
    histogram = striped_color_histogram(images, stripes=2, bins=4)
    assert histogram.shape == (2, 2 * 64)
    expected = torch.zeros(2, 64)
    for y in range(9):
        for x in range(4):
            red, green, blue = (int(value) // 64 for value in images[0, :, y, x])
            expected[0 if y < 5 else 1, red * 16 + green * 4 + blue] += 1
    expected = torch.stack((expected[0] / 20, expected[1] / 16)).sqrt()
    torch.testing.assert_close(histogram[0].view(2, 64), expected)


def test_color_histogram_looks_at_the_balanced_middle():
    pixels = torch.randint(60, 200, (1, 3, 12, 8)).float()
    branch = ColorHistogram(stripes=2, bins=4)
    feature, _ = branch((pixels - 127.5) / 127.5)
    middle = pixels[..., 2:6]
    balanced = middle * middle.mean() / middle.mean((2, 3), keepdim=True)
    torch.testing.assert_close(feature, F.normalize(striped_color_histogram(balanced, 2, 4)))
    border = pixels.clone()
    border[..., :2] = 0
    torch.testing.assert_close(branch((border - 127.5) / 127.5)[0], feature)
