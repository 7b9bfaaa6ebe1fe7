"""Our parts inside another OpenMMLab project."""

from __future__ import annotations

import subprocess
import sys

import pytest

OTHER_PROJECT = """
default_scope = 'mmpretrain'
custom_imports = dict(imports=['fusionreid'])
neck = dict(
    type='fusionreid.DualAttentionMutualFusion',
    in_channels=dict(cnn=8, transformer=6), embed_dims=12, num_layers=1, num_heads=3)
head = dict(type='fusionreid.BNNeckHead', in_channels=12, num_classes=5)
sampler = dict(type='fusionreid.PKSampler', ids_per_batch=2, instances_per_id=3, id_key='gt_label')
metric = dict(type='fusionreid.ReIDMetric')
backbone = dict(type='ResNet', depth=18)
"""

BUILD = """
import sys
import torch
from mmengine.config import Config
from mmengine.registry import DATA_SAMPLERS, METRICS, init_default_scope

cfg = Config.fromfile(sys.argv[1])
init_default_scope(cfg.default_scope)
from mmpretrain.registry import MODELS

class Labels:
    def __len__(self):
        return 20
    def get_data_info(self, index):
        return dict(gt_label=index // 4)

neck, head, backbone = MODELS.build(cfg.neck), MODELS.build(cfg.head), MODELS.build(cfg.backbone)
features = neck(dict(cnn=torch.rand(4, 8, 4, 2), transformer=torch.rand(4, 6, 5, 3)))
losses = head.loss(features['cnn_fused'], torch.tensor([0, 0, 1, 1]))
sampler = DATA_SAMPLERS.build(cfg.sampler, default_args=dict(dataset=Labels(), seed=0))
metric = METRICS.build(cfg.metric)
print(type(neck).__name__, sorted(losses), len(sampler), metric.prefix, type(backbone).__module__)
"""


def run(code: str, *arguments: str) -> str:
    command = [sys.executable, '-W', 'ignore', '-c', code, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout


@pytest.mark.slow
def test_parts_are_built_under_another_default_scope(tmp_path):
    config = tmp_path / 'other.py'
    config.write_text(OTHER_PROJECT)
    expected = "DualAttentionMutualFusion ['loss_id', 'loss_triplet'] 12 reid mmpretrain."
    assert expected in run(BUILD, str(config))


@pytest.mark.parametrize('scope', ['fusionreid', 'mmpretrain'])
@pytest.mark.slow
def test_default_scope_alone_finds_our_parts(scope):
    prefix = '' if scope == 'fusionreid' else 'fusionreid.'
    code = (
        'from mmengine.registry import HOOKS, init_default_scope\n'
        f'init_default_scope({scope!r})\n'
        + ('import fusionreid\n' if prefix else '')
        + f"print(type(HOOKS.build(dict(type='{prefix}EpochSeedHook'))).__name__)"
    )
    assert 'EpochSeedHook' in run(code)
