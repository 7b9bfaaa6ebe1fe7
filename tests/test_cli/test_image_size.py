"""The size that a transformer is built for against that of the images, before the first step."""

from __future__ import annotations

import re

import numpy as np
import pytest
from gallery_commands import write_checkpoint
from tiny_runs import find_resize, refused, write_tiny_config

from fusionreid.apis import FeatureExtractor
from fusionreid.config import read_config
from fusionreid.errors import ConfigError

pytestmark = pytest.mark.slow  # builds runs


def refuse(command, config, tmp_path, *options, arguments=()):
    line = refused(
        command,
        [str(config), *arguments, '--work-dir', str(tmp_path / 'run'), '--cfg-options', *options],
    )
    assert not list((tmp_path / 'run').glob('*.pth'))
    return line


@pytest.mark.parametrize(
    ('command', 'loader'),
    [
        ('train', 'train_dataloader'),
        ('train', 'val_dataloader'),
        ('test', 'test_dataloader'),
    ],
)
def test_each_pipeline_is_compared(command, loader, data, tmp_path):
    config = write_tiny_config(tmp_path, data)
    line = refuse(command, config, tmp_path, f'{loader}.dataset.pipeline.1.scale=(16,32)')
    setting = 'model.branches.transformer.backbone.img_size'
    assert line == (
        f'error: {setting}=(64, 32) (height, width), {loader}.dataset.pipeline gives images of '
        f'(32, 16): set {setting}=(32, 16), or scale=(32, 64) (width, height) in the pipeline'
    )


def test_the_stated_size_is_compared(data, tmp_path):
    config = write_tiny_config(tmp_path, data)
    line = refuse('train', config, tmp_path, 'input_size=(128,64)')
    assert 'input_size=(128, 64) (height, width), train_dataloader.dataset.pipeline gives' in line


def test_an_extractor_is_compared_too(data, tmp_path):
    config = write_tiny_config(tmp_path, data)
    checkpoint = write_checkpoint(config, tmp_path / 'model.pth')
    text = config.read_text()
    wrong = tmp_path / 'wrong.py'
    wrong.write_text(re.sub(r'img_size=\(\s*64,\s*32,?\s*\)', 'img_size=(96, 48)', text))
    assert wrong.read_text() != text
    with pytest.raises(ConfigError, match=r'img_size=\(96, 48\).* gives images of \(64, 32\)'):
        FeatureExtractor(write_checkpoint(wrong, tmp_path / 'wrong.pth'), wrong)
    image = np.zeros((80, 40, 3), np.uint8)
    assert len(FeatureExtractor(checkpoint, config).extract([image])) == 1


def test_a_model_for_any_size_is_left_alone(data, tmp_path):
    config = write_tiny_config(tmp_path, data, 'r18_synthetic')
    cfg = read_config(config)
    find_resize(cfg.test_dataloader.dataset.pipeline).scale = (16, 32)
    cfg.dump(config)
    checkpoint = write_checkpoint(config, tmp_path / 'model.pth')
    assert len(FeatureExtractor(checkpoint, config).extract([np.zeros((8, 8, 3), np.uint8)])) == 1
