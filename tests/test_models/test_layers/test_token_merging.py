"""Token merging against loops over tokens, and against the transformer that merges none."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusionreid.models import plain_computation
from fusionreid.models.backbones import ReIDVisionTransformer
from fusionreid.models.layers.attention import CrossAttention, merge_heads, split_heads
from fusionreid.models.layers.token_merging import (
    add_up,
    match_tokens,
    merges_per_block,
    run_merging,
)
from fusionreid.models.necks import GeMPooling

ARCH = dict(embed_dims=24, num_layers=3, num_heads=3, feedforward_channels=32)


def transformer(keep_ratio: float = 1.0) -> ReIDVisionTransformer:
    """A transformer in float64 whose attention is far from uniform."""
    torch.manual_seed(0)
    model = ReIDVisionTransformer(
        ARCH, (64, 32), patch_stride=12, num_cameras=3, keep_ratio=keep_ratio
    )
    for weight in model.parameters():
        if weight.ndim > 1:
            nn.init.normal_(weight, std=0.3)
    return model.double().eval()


def images(count: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 3, 64, 32, generator=generator).double()


CAMERAS = torch.tensor([0, -1, 2])


def match_by_loops(keys: Tensor, count: int) -> list[int]:
    """Places after merging of the tokens of one image."""
    length = len(keys)
    pairs = []
    for even in range(2, length, 2):
        odds = range(1, length, 2)
        scores = [F.cosine_similarity(keys[even], keys[odd], dim=0).item() for odd in odds]
        pairs.append((max(scores), even, odds[scores.index(max(scores))]))
    merged = {even: odd for _, even, odd in sorted(pairs, reverse=True)[:count]}
    kept = [token for token in range(length) if token not in merged]
    return [kept.index(merged.get(token, token)) for token in range(length)]


@pytest.mark.parametrize('length', [2, 3, 8, 11])
def test_matching_against_loops(length):
    keys = torch.randn(4, length, 6, dtype=torch.float64)
    for count in range((length - 1) // 2 + 1):
        places = match_tokens(keys, count)
        assert places.tolist() == [match_by_loops(each, count) for each in keys]
        assert not places[:, 0].any()  # the class token stays the first
        assert places.amax() == length - count - 1
        merged_with_class = (places == 0).sum(1)
        assert merged_with_class.tolist() == [1] * 4


def test_a_merged_token_is_the_mean_of_its_patches():
    tokens = torch.randn(1, 5, 4)
    sizes = torch.tensor([1.0, 2.0, 1.0, 3.0, 1.0]).view(1, 5, 1)
    places = torch.tensor([[0, 1, 1, 2, 1]])
    sums, after = add_up(tokens * sizes, places, 3), add_up(sizes, places, 3)
    assert after.flatten().tolist() == [1, 4, 3]
    expected = (2 * tokens[0, 1] + tokens[0, 2] + tokens[0, 4]) / 4
    torch.testing.assert_close((sums / after)[0, 1], expected)


@pytest.mark.parametrize('count', [0, 2])
def test_attention_to_a_merged_token_is_attention_to_its_patches(count):
    """A block sees a token of size s as s equal ones."""
    block = transformer().layers[0]
    short = torch.randn(2, 5, 24, dtype=torch.float64)
    sizes = torch.tensor([1, 1, 3, 1, 2])
    tokens, after, places = run_merging(
        block, short, sizes.double().view(1, 5, 1).repeat(2, 1, 1), count
    )
    long = short.repeat_interleave(sizes, 1)
    attended = long + block.attn(block.ln1(long))
    firsts = attended[:, sizes.cumsum(0) - 1]  # one of each
    weights = sizes.double().view(1, 5, 1).repeat(2, 1, 1)
    left = 5 - count
    expected = add_up(firsts * weights, places, left) / add_up(weights, places, left)
    expected = block.ffn(block.ln2(expected), identity=expected)
    torch.testing.assert_close(tokens, expected, rtol=1e-10, atol=1e-10)
    assert after.sum().item() == 2 * sizes.sum()


def test_nothing_merged_is_the_usual_transformer():
    usual, merging = transformer(), transformer(0.999)
    assert list(usual.state_dict()) == list(merging.state_dict())
    for ours, expected in zip(merging(images(), CAMERAS), usual(images(), CAMERAS), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize('keep_ratio', [0.9, 0.5, 0.3])
def test_the_map_has_the_merged_token_of_every_patch(keep_ratio):
    model = transformer(keep_ratio)
    seen: list[Tensor] = []
    model.ln1.register_forward_hook(lambda _, __, output: seen.append(output))
    token, feature_map = model(images(), CAMERAS)
    assert feature_map.shape == (3, 24, 5, 2)
    (compact,) = seen
    assert compact.shape == (3, 1 + round(10 * keep_ratio), 24)
    assert torch.equal(token, compact[:, 0])
    for own, patches in zip(compact, feature_map.flatten(2).transpose(1, 2), strict=True):
        sizes = [int((patches == each).all(1).sum()) for each in own[1:]]
        assert sum(sizes) == 10
        assert min(sizes) >= 1
        # GeM over the map is the mean weighted by the sizes.
        weights = torch.tensor(sizes).double()[:, None]
        clamped = own[1:].clamp(min=1e-6) ** 3
        expected = ((clamped * weights).sum(0) / 10) ** (1 / 3)
        pooled = GeMPooling()(patches.T.reshape(1, 24, 5, 2))[0]
        torch.testing.assert_close(pooled, expected)


def test_the_neck_reads_merged_tokens_by_their_size():
    """Attention to the restored patches is that to the merged tokens with log size added."""
    sizes = torch.tensor([1, 3, 1, 2])
    short = torch.randn(2, 4, 12, dtype=torch.float64)
    queries = torch.randn(2, 1, 12, dtype=torch.float64)
    attention = CrossAttention(12, 3).double()
    heads = [
        split_heads(each, 3)
        for each in (attention.q(queries), attention.k(attention.norm(short)), attention.v(short))
    ]
    weighted = F.scaled_dot_product_attention(*heads, attn_mask=sizes.double().log().expand(1, 4))
    expected = attention.proj(merge_heads(weighted))
    torch.testing.assert_close(attention(queries, short.repeat_interleave(sizes, 1)), expected)


def test_cameras_batches_of_one_other_sizes_and_the_plain_form():
    model = transformer(0.4)
    together = model(images(), CAMERAS)
    for row in range(3):
        alone = model(images()[row : row + 1], CAMERAS[row : row + 1])
        for ours, expected in zip(alone, together, strict=True):
            torch.testing.assert_close(ours, expected[row : row + 1], rtol=1e-9, atol=1e-9)
    assert not torch.equal(model(images(), None)[0], together[0])
    assert model(torch.rand(1, 3, 101, 60).double())[1].shape == (1, 24, 8, 4)
    with plain_computation(model):
        for ours, expected in zip(model(images(), CAMERAS), together, strict=True):
            torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-9)


def test_training_reaches_all_weights_and_can_recompute():
    model = transformer(0.4).train()
    gradients = []
    for with_cp in (False, True):
        each = copy.deepcopy(model)
        each.with_cp = with_cp
        token, feature_map = each(images(), CAMERAS)
        (token.square().sum() + feature_map.square().sum()).backward()
        gradients.append({name: weight.grad for name, weight in each.named_parameters()})
    assert all(grad is not None and grad.any() for grad in gradients[0].values())
    for name, grad in gradients[1].items():
        assert torch.equal(grad, gradients[0][name]), name


def test_merging_is_spread_over_the_blocks():
    assert sum(merges_per_block(210, 12, 0.25)) == 210 - round(0.25 * 210)
    assert merges_per_block(10, 3, 1.0) == [0, 0, 0]
    # At most half of a block's tokens can be matched.
    assert merges_per_block(10, 3, 0.1) == [3, 3, 2]


@pytest.mark.parametrize('keep_ratio', [0.0, 1.5])
def test_shares_out_of_range_are_refused(keep_ratio):
    with pytest.raises(ValueError, match=rf'keep_ratio must lie in \(0, 1\], got {keep_ratio}'):
        transformer(keep_ratio)
