"""Multiply-adds of the published and of lighter models, against counts by hand."""

from __future__ import annotations

import re
from contextlib import nullcontext

import pytest
import torch
from tiny_runs import ROOT
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from fusionreid.config import read_config
from fusionreid.models import build_on_meta, plain_computation
from fusionreid.models.complexity import Complexity, measure_complexity
from fusionreid.models.layers.token_merging import merges_per_block
from fusionreid.models.necks import DualAttentionMutualFusion

D, HEADS = 768, 12
CNN, VIT = 16 * 8, 21 * 10
PATCHES = CNN + VIT
POOLED = 8 * 4 + 11 * 5
# A ResNet-18 and one block of the ViT, which are faster to count; the neck is that of all others.
CNN_WIDTH = 512
BLOCK = dict(embed_dims=D, num_layers=1, num_heads=HEADS, feedforward_channels=4 * D)
LRU = CNN * (CNN_WIDTH + CNN_WIDTH * D) + VIT * (D + D * D)


def seu(tokens: int, in_mlp: int | None = None, width: int = D) -> int:
    """Queries, keys, values, projection; two layers of the MLP of four times the width."""
    return 4 * width**2 * tokens + 8 * width**2 * (tokens if in_mlp is None else in_mlp)


def mfu(tokens: int, readers: int = 2, width: int = D) -> int:
    """Keys and values of what is read; queries, projection and MLP of who reads."""
    return 2 * width**2 * tokens + 10 * width**2 * readers


RANK, INNER = 128, 384
BY_HAND = {
    'published': ({}, 2 * (seu(PATCHES + 2) + mfu(PATCHES))),
    'mfu': (dict(units=('mfu',)), 2 * mfu(PATCHES)),
    'patch_mlp': (dict(patch_mlp=False), 2 * (seu(PATCHES + 2, 2) + mfu(PATCHES))),
    'encode_once': (dict(encode_once=True), seu(PATCHES + 2) + 2 * mfu(PATCHES)),
    'patch_pooling': (dict(patch_pooling=2), 2 * (seu(POOLED + 2) + mfu(POOLED))),
    'share_layers': (dict(share_layers=True), 2 * (seu(PATCHES + 2) + mfu(PATCHES))),
    'num_latents': (dict(num_latents=8), mfu(PATCHES, 16) + 2 * (seu(18) + mfu(16))),
    'rank': (
        dict(rank=RANK),
        2 * RANK * D * (16 * (PATCHES + 2) + 2 * 2 * PATCHES + (2 * 2 + 10) * 2),
    ),
    'inner_dims': (
        dict(inner_dims=INNER),
        D * INNER * (PATCHES + 2 + 2)
        + 2 * (seu(PATCHES + 2, width=INNER) + mfu(PATCHES, width=INNER)),
    ),
    'pooled_once': (
        dict(patch_pooling=2, encode_once=True),
        seu(POOLED + 2) + 2 * mfu(POOLED),
    ),
}


def measure(as_computed: bool = False, **neck) -> dict[str, Complexity]:
    model = read_config('fusionreid_vitb_r50_market1501').model
    model.neck.update(neck)
    model.branches.cnn.backbone.depth = 18
    model.branches.transformer.backbone.arch = BLOCK
    return measure_complexity(build_on_meta(model), (256, 128), as_computed)


@pytest.mark.parametrize(('neck', 'htm'), BY_HAND.values(), ids=BY_HAND)
def test_options_of_the_neck_by_hand(neck, htm):
    parts = measure(**neck)
    assert 'other' not in parts
    assert (parts['LRU'].macs, parts['HTM'].macs) == (LRU, htm)
    assert parts['total'].macs == sum(part.macs for name, part in parts.items() if name != 'total')


def test_a_transformer_that_merges_tokens_by_hand():
    tokens, macs, products = 1 + VIT, VIT * D * 3 * 16**2, 0
    for count in merges_per_block(VIT, 12, 0.25):
        macs += 4 * D**2 * tokens + 8 * D**2 * (tokens - count)
        # Queries by keys and weights by values; even by odd keys of an average head.
        products += 2 * D * tokens**2 + D // HEADS * ((tokens + 1) // 2) * (tokens // 2)
        tokens -= count
    model = read_config('vitb_market1501').model
    model.branches.transformer.backbone.keep_ratio = 0.25
    found = measure_complexity(build_on_meta(model), (256, 128))['transformer backbone']
    assert found.macs == macs
    assert found.flops == 2 * (macs + products)


def test_what_the_published_model_computes_by_hand():
    """Keys and values of an MFU's patches are never made, see ``folded_attention``."""
    parts = measure(as_computed=True)
    lru = CNN * CNN_WIDTH * D + VIT * D * D  # the depth-wise half scales and shifts
    attention = 2 * D * ((CNN + 1) ** 2 + (VIT + 1) ** 2)
    # A summary's query, through the keys' weights; values of each head; projection; MLP.
    folded = 2 * 12 * D**2 + 2 * HEADS * D * PATCHES
    assert parts['LRU'].macs == lru
    assert parts['HTM'].macs == 2 * (seu(PATCHES + 2) + attention + folded)
    assert parts['HTM'].flops == 2 * parts['HTM'].macs


def count_neck(options: dict, plain: bool) -> float:
    """Multiply-adds in billions: of layers as they are written down, or all that are done."""
    with torch.device('meta'):
        neck = DualAttentionMutualFusion(dict(cnn=2048, transformer=D), **options).eval()
        maps = dict(cnn=torch.rand(1, 2048, 16, 8), transformer=torch.rand(1, D, 21, 10))
    form = plain_computation(neck) if plain else nullcontext()
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), form, sdpa_kernel(SDPBackend.MATH), counter:
        neck(maps)
    counts = counter.get_flop_counts()['Global']
    counted = [flops for key, flops in counts.items() if not plain or key.__name__ != 'bmm']
    return sum(counted) / 2e9


@pytest.mark.slow
def test_the_documents_show_what_is_counted():
    text = (ROOT / 'docs' / 'lighter.md').read_text()
    rows = [
        [cell.strip() for cell in line.strip('|').split('|')]
        for line in text.splitlines()
        if line.startswith('|')
    ]
    options = {row[0]: row[1:] for row in rows if len(row) == 7 and row[1][0].isdigit()}
    assert len(options) == 11
    written, computed = count_neck({}, plain=True), count_neck({}, plain=False)
    for name, figures in options.items():
        code = re.findall('`(.+)`', name)
        neck = eval(f'dict({code[0]})') if code else {}
        ours, fast = count_neck(neck, plain=True), count_neck(neck, plain=False)
        assert figures[:4] == [
            f'{ours:.2f}',
            f'{100 * ours / written:.0f}%',
            f'{fast:.2f}',
            f'{100 * fast / computed:.0f}%',
        ], name
        # The branches have 4.05 and 18.05.
        assert float(figures[5]) == pytest.approx(22.1 + ours, abs=0.011), name
    merged = {row[0]: row[1:] for row in rows if len(row) == 5 and row[0][0].isdigit()}
    assert len(merged) == 6
    fusion = count_neck(dict(patch_pooling=2, encode_once=True), plain=True)
    for ratio, (left, transformer, total, share) in merged.items():
        tokens, macs = 1 + VIT, VIT * D * 3 * 16**2
        for count in merges_per_block(VIT, 12, float(ratio)):
            macs += 4 * D**2 * tokens + 8 * D**2 * (tokens - count)
            tokens -= count
        assert tokens - 1 == int(left)
        assert transformer == f'{macs / 1e9:.2f}'
        assert float(total) == pytest.approx(4.053 + macs / 1e9 + fusion, abs=0.006)
        assert float(share[:-1]) == pytest.approx(100 * float(total) / 28.058, abs=0.51)
