"""Every config is built and run on a small input."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from tiny_runs import ROOT, shrink_model

from fusionreid.registry import MODELS
from fusionreid.structures import ReIDDataSample

CONFIGS = sorted(path for path in (ROOT / 'configs').glob('*.py'))
PUBLISHED = {'msmt17': (1041, 15), 'market1501': (751, 6), 'dukemtmc': (702, 8)}


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_one_training_step_and_one_prediction(path: Path):
    cfg = Config.fromfile(path)
    shrink_model(cfg.model)
    if cfg.model.get('head') and cfg.model.head.num_classes is None:
        cfg.model.head.num_classes = 3
    model = MODELS.build(cfg.model)
    width, height = cfg.test_dataloader.dataset.pipeline[1].scale
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
    predicted = model.eval().test_step(data)
    assert list(predicted[0].features) == list(model.feature_widths)


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_counts_sizes_and_names_agree(path: Path):
    cfg = Config.fromfile(path)
    train_scale = cfg.get('train_pipeline', cfg.test_pipeline)[1].scale
    assert train_scale == cfg.test_dataloader.dataset.pipeline[1].scale
    for name, (ids, cameras) in PUBLISHED.items():
        if name in path.stem:
            assert cfg.model.head.num_classes == ids
            transformer = cfg.model.branches.transformer
            assert transformer is None or transformer.backbone.num_cameras == cameras
    transformer = cfg.model.branches.get('transformer')
    if transformer:
        assert tuple(transformer.backbone.img_size) == train_scale[::-1]
        assert ('_s16' in path.stem) == (
            transformer.backbone.patch_stride == 16
        ) or 'synthetic' in path.stem
    assert ('384x128' in path.stem) == (train_scale == (128, 384))


def test_the_published_configs_exist():
    names = {path.stem for path in CONFIGS}
    for data in PUBLISHED:
        for suffix in ('', '_s16', '_384x128', '_s16_384x128'):
            assert f'fusionreid_vitb_r50_{data}{suffix}' in names
        assert {f'r50_{data}', f'vitb_{data}'} <= names
