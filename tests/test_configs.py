"""Every config is built, as it is and small enough to train a step."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from tiny_runs import ROOT, find_resize, shrink_model

from fusionreid.models import build_on_meta
from fusionreid.registry import MODELS
from fusionreid.structures import ReIDDataSample

CONFIGS = sorted(path for path in (ROOT / 'configs').glob('*.py'))
# Those for rendered people are small as they are.
FULL_SIZE = [path for path in CONFIGS if not path.stem.endswith('_synthetic')]
PUBLISHED = {'msmt17': (1041, 15), 'market1501': (751, 6), 'dukemtmc': (702, 8)}
# By their part of a config's name: architecture, class or network; width; patches that may
# overlap; side information embedding.
TRANSFORMERS = {
    'vitb': ('base', 768, True, True),
    'deitb': ('deit-base', 768, True, True),
    't2t14': ('ReIDT2TViT', 384, False, True),
    't2t24': ('ReIDT2TViT', 512, False, True),
    'swint': ('mmpretrain.SwinTransformer', 768, False, False),
    'vits': ('vit_small_patch16_224', 384, False, False),
}
CNN_WIDTHS = {'r50': 2048, 'r101': 2048, 'r152': 2048, 'convnextt': 768}
ABLATIONS = {
    'seu': dict(units=('seu',)),
    'mfu': dict(units=('mfu',)),
    'mfu-seu': dict(units=('mfu', 'seu')),
    'shared-none': dict(shared=()),
    'shared-mfu': dict(shared=('mfu',)),
    'shared-seu-mfu': dict(shared=('seu', 'mfu')),
    'no-depthwise': dict(depthwise=False),
    **{f'l{number}': dict(num_layers=number) for number in (1, 3, 4, 5, 6)},
    **{f'd{width}': dict(embed_dims=width) for width in (384, 576, 1152, 1536)},
}


def load(path: Path) -> Config:
    """Read a config; the ones for own data get the counts that their user would give."""
    cfg = Config.fromfile(path)
    if 'custom' in path.stem:
        cfg.model.head.num_classes = 3
        cfg.model.branches.transformer.backbone.num_cameras = 2
    return cfg


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_one_training_step_and_one_prediction(path: Path):
    cfg = load(path)
    shrink_model(cfg.model)
    model = MODELS.build(cfg.model)
    width, height = find_resize(cfg.test_dataloader.dataset.pipeline).scale
    data = dict(
        inputs=[torch.randint(0, 256, (3, height, width), dtype=torch.uint8) for _ in range(4)],
        data_samples=[
            ReIDDataSample(metainfo=dict(person_id=row // 2, camera_id=row % 2, augment_seed=row))
            for row in range(4)
        ],
    )
    if len(model.heads):
        losses = model(**model.data_preprocessor(data, True), mode='loss')
        assert len(losses) == 2 * len(model.feature_widths)
        total = sum(losses.values())
        total.backward()
        assert torch.isfinite(total)
        # Distributed training waits for the gradients of all of them.
        weights = model.named_parameters()
        assert [name for name, w in weights if w.requires_grad and w.grad is None] == []
    predicted = model.eval().test_step(data)
    assert list(predicted[0].features) == list(model.feature_widths)
    assert {name: len(value) for name, value in predicted[0].features.items()} == (
        model.feature_widths
    )


@pytest.mark.parametrize('path', FULL_SIZE, ids=lambda path: path.stem)
def test_the_name_says_what_is_inside_at_full_size(path: Path):
    cfg, words = load(path), re.sub('^fusionreid_', '', path.stem).split('_')
    model, branches = cfg.model, cfg.model.branches
    built = build_on_meta(model)
    cnn = next((word for word in words if word in CNN_WIDTHS), None)
    transformer = next((word for word in words if word in TRANSFORMERS), None)
    neck = dict(num_layers=2, embed_dims=768, units=('seu', 'mfu'), shared=('seu',))
    for word in words:
        neck.update(ABLATIONS.get(word, {}))

    widths = {}
    if cnn:
        widths['cnn'] = CNN_WIDTHS[cnn]
        backbone = branches.cnn.backbone
        if cnn != 'convnextt':
            assert f'r{backbone.depth}' == cnn
            assert backbone.stem == 'release'
    if transformer:
        kind, widths['transformer'], overlapping, sie = TRANSFORMERS[transformer]
        backbone = branches.transformer.backbone
        kinds = [backbone.type, backbone.get('arch'), *backbone.get('backbone', {}).values()]
        assert kind in kinds
        assert tuple(backbone.img_size) == tuple(cfg.input_size)
        if overlapping:
            assert backbone.patch_stride == (16 if 's16' in words else 12)
    if cnn and transformer:
        assert {key: model.neck.get(key, True) for key in neck} == neck
        for stage in ('refined', 'fused'):
            widths |= {f'{branch}_{stage}': neck['embed_dims'] for branch in branches}
    else:
        assert not model.neck
    assert built.feature_widths == widths

    for name, (ids, cameras) in PUBLISHED.items():
        if name in words:
            assert built.num_classes == ids
            assert built.num_cameras == (cameras if transformer and sie else 0)
    size = (384, 128) if '384x128' in words else (256, 128)
    for pipeline in (cfg.train_dataloader.dataset.pipeline, cfg.test_dataloader.dataset.pipeline):
        assert find_resize(pipeline).scale == size[::-1]


def test_the_published_rows_and_the_ablations_exist():
    names = {path.stem for path in CONFIGS}
    for data in PUBLISHED:
        for suffix in ('', '_s16', '_384x128', '_s16_384x128'):
            assert f'fusionreid_vitb_r50_{data}{suffix}' in names
        assert {f'r50_{data}', f'vitb_{data}'} <= names
    for transformer in ('vitb', 'deitb', 't2t14', 't2t24'):
        assert f'{transformer}_msmt17' in names
        for cnn in ('r50', 'r101', 'r152'):
            assert f'{cnn}_msmt17' in names
            assert f'fusionreid_{transformer}_{cnn}_msmt17' in names
    for suffix in ABLATIONS:
        assert f'fusionreid_vitb_r50_msmt17_{suffix}' in names


@pytest.mark.parametrize('name', ['custom_market', 'custom_csv'])
def test_configs_for_own_data_ask_for_the_two_counts(name):
    path = ROOT / 'configs' / f'fusionreid_vitb_r50_{name}.py'
    cfg = Config.fromfile(path)
    shrink_model(cfg.model)
    with pytest.raises(ValueError, match=r'model\.branches\.transformer\.backbone\.num_cameras=6'):
        MODELS.build(cfg.model)
    cfg.merge_from_dict({'model.branches.transformer.backbone.num_cameras': 2})
    with pytest.raises(ValueError, match=r'got None.*--cfg-options model\.head\.num_classes=751'):
        MODELS.build(cfg.model)
    cfg.merge_from_dict({'model.head.num_classes': 3})
    assert MODELS.build(cfg.model).num_classes == 3
