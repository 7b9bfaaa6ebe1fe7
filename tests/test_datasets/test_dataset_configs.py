from __future__ import annotations

from pathlib import Path

import dataset_trees
import pytest
import torch
from image_trees import write_csv, write_market, write_msmt17
from mmengine.config import Config
from mmengine.runner import Runner
from tiny_runs import find_resize

CONFIGS = Path(__file__).parents[2] / 'configs' / '_base_' / 'datasets'
TREES = {
    'market1501': write_market,
    'dukemtmc': write_market,
    'msmt17': write_msmt17,
    'synthetic': write_market,
    'custom_market': write_market,
    'occludedduke': dataset_trees.write_occluded_duke,
    'cuhk03labeled': dataset_trees.write_cuhk03,
    'cuhk03detected': dataset_trees.write_cuhk03,
    'ltcc': dataset_trees.write_ltcc,
    'prcc': dataset_trees.write_prcc,
    'veri776': dataset_trees.write_veri776,
    'vehicleid': dataset_trees.write_vehicleid,
    'mars': dataset_trees.write_mars,
    'custom_csv': lambda root: write_csv(
        root, ['a.jpg,1,0,train', 'b.jpg,2,0,query', 'c.jpg,2,1,gallery']
    ),
}


@pytest.mark.parametrize('name', TREES)
def test_base_config_builds_both_loaders(tmp_path: Path, name: str) -> None:
    config = Config.fromfile(CONFIGS / f'{name}.py')
    TREES[name](tmp_path / config.data_root)
    for key, interpolation in (('train_dataloader', 'bicubic'), ('val_dataloader', 'bilinear')):
        loader = config[key]
        assert find_resize(loader.dataset.pipeline).interpolation == interpolation
        loader.dataset.data_root = str(tmp_path / config.data_root)
        # One process, and no sampler of identities: each has tests of its own.
        loader.update(num_workers=0, persistent_workers=False, batch_size=2)
        loader.sampler = {'type': 'DefaultSampler', 'shuffle': False}
        batch = next(iter(Runner.build_dataloader(loader)))
        assert batch['inputs'].shape[1:] == (3, *config.input_size)
        assert batch['inputs'].dtype == torch.uint8
        assert batch['data_samples'][0].ori_shape == (24, 12)
    sampler = Config.fromfile(CONFIGS / f'{name}.py').train_dataloader
    assert sampler.batch_size == sampler.sampler.ids_per_batch * sampler.sampler.instances_per_id
    assert config.test_dataloader.dataset.split == 'test'


def test_another_input_size_in_a_derived_config(tmp_path: Path) -> None:
    path = tmp_path / 'large.py'
    path.write_text(
        f"_base_ = '{CONFIGS / 'market1501.py'}'\n"
        'input_size = (384, 128)\n'
        'train_pipeline = _base_.train_pipeline\n'
        'test_pipeline = _base_.test_pipeline\n'
        'for step in (*train_pipeline, *test_pipeline):\n'
        "    if 'scale' in step:\n"
        '        step.scale = input_size[::-1]\n'
        'del step\n'
        'train_dataloader = dict(dataset=dict(pipeline=train_pipeline))\n'
        'val_dataloader = dict(dataset=dict(pipeline=test_pipeline))\n'
        'test_dataloader = val_dataloader\n'
    )
    config = Config.fromfile(path)
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        assert find_resize(config[key].dataset.pipeline).scale == (128, 384)
        assert config[key].dataset.type == 'Market1501'
    original = Config.fromfile(CONFIGS / 'market1501.py')
    assert find_resize(original.train_pipeline).scale == (128, 256)
