"""A tiny data set and tiny versions of the configs, for tests that train."""

from __future__ import annotations

import argparse
import functools
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from mmengine.config import Config, ConfigDict

from fusionreid.cli.commands import COMMANDS
from fusionreid.cli.main import run_command
from fusionreid.datasets.synthetic import SyntheticConfig, render_data_set

ROOT = Path(__file__).parents[2]
TINY_VIT = dict(embed_dims=24, num_layers=2, num_heads=3, feedforward_channels=48)
TINY_ADAPTED = {
    'vit_small_patch16_224': dict(embed_dim=24, depth=2, num_heads=3),
    'mmpretrain.ConvNeXt': dict(arch=dict(depths=[1, 1, 1, 1], channels=[8, 16, 24, 32])),
    'mmpretrain.SwinTransformer': dict(
        arch=dict(embed_dims=8, depths=[1, 1, 1, 1], num_heads=[1, 2, 2, 2])
    ),
}
NUM_IDS = 8


def parse_command(name: str, argv: Sequence[str]) -> argparse.Namespace:
    """Read the arguments of a command of ours, as ``fusionreid NAME ARGV`` does."""
    module = COMMANDS[name].load()
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    args = parser.parse_args(argv)
    if hasattr(module, 'check_arguments'):
        module.check_arguments(args, parser)
    return args


def refused(name: str, argv: Sequence[str]) -> str:
    """Run a command that must end in an error of one line.

    Returns:
        The line, ``error: `` included.
    """
    with pytest.raises(SystemExit) as stop:
        run_command(name, argv)
    line = str(stop.value)
    assert line.startswith('error: ')
    return line


def render_tiny(out: Path, layout: str = 'market1501') -> Path:
    """Write a data set of a few people, who are rendered once in a process."""
    for name, content in _rendered(layout).items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(content)
    return out


@functools.cache
def _rendered(layout: str) -> dict[Path, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / 'data'
        render_data_set(
            out,
            SyntheticConfig(
                ids_train=NUM_IDS,
                ids_test=4,
                images_per_camera=2,
                height=64,
                width=32,
                layout=layout,
            ),
            workers=1,
        )
        files = [path for path in out.rglob('*') if path.is_file()]
        return {path.relative_to(out): path.read_bytes() for path in files}


def find_resize(pipeline: Sequence[ConfigDict]) -> ConfigDict:
    """The transform of a pipeline that gives images their size."""
    (resize,) = (step for step in pipeline if step.type == 'AntialiasedResize')
    return resize


def shrink_model(model: dict) -> None:
    """Make a config's branches and neck tiny, keeping input size, strides, sharing and units."""
    for branch in model.branches.values():
        if not branch:
            continue
        backbone = branch.backbone
        if backbone.type == 'ReIDResNet':
            backbone.update(depth=18, base_channels=8, stem_channels=8)
        elif backbone.type == 'ReIDVisionTransformer':
            backbone.arch = TINY_VIT
        elif backbone.type == 'ReIDT2TViT':
            backbone.update(embed_dims=24, num_layers=2, num_heads=3)
            backbone.t2t_cfg = dict(token_dims=16, use_performer=False)
        elif backbone.type == 'BackboneAdapter':
            network = backbone.backbone.get('model_name', backbone.backbone.type)
            # Those that are not named are small.
            backbone.backbone.update(TINY_ADAPTED.get(network, {}))
    if model.get('neck'):
        model.neck.update(embed_dims=24, num_heads=3)


def write_tiny_config(
    folder: Path, data: Path, name: str = 'fusionreid_vittiny_r18_synthetic', extra: str = ''
) -> Path:
    """Write a config that trains a tiny version of a synthetic one for two epochs on the CPU.

    Args:
        folder: Where the config goes.
        data: Folder from ``render_tiny``.
        name: Config that it is derived from.
        extra: Further lines.
    """
    cfg = Config.fromfile(next((ROOT / 'configs').rglob(f'{name}.py')))
    shrink_model(cfg.model)
    if 'head' in cfg.model:
        cfg.model.head.num_classes = NUM_IDS
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if cfg.get(key):
            cfg[key].dataset.data_root = str(data)
            cfg[key].update(num_workers=0, persistent_workers=False)
            if 'data_preprocessor' in cfg.model:
                find_resize(cfg[key].dataset.pipeline).scale = (32, 64)
    if 'data_preprocessor' in cfg.model:
        cfg.input_size = (64, 32)
    for branch in cfg.model.branches.values():
        if branch and branch.backbone.type == 'ReIDVisionTransformer':
            branch.backbone.update(img_size=(64, 32), drop_path_rate=0.3)
    if cfg.get('train_dataloader'):
        cfg.train_dataloader.update(
            batch_size=8, sampler=dict(type='PKSampler', ids_per_batch=4, instances_per_id=2)
        )
        cfg.train_cfg = dict(by_epoch=True, max_epochs=2, val_interval=1)
        cfg.param_scheduler = dict(type='WarmupCosineLR', warmup_epochs=1)
        cfg.default_hooks.checkpoint.interval = 1
        cfg.default_hooks.logger.interval = 4
    path = folder / f'tiny_{name}.py'
    path.write_text(cfg.pretty_text + '\n' + extra)
    return path


def put_transformer_first(config: Path) -> Path:
    """Rewrite a config so that the order of its branches is not that of the alphabet."""
    settings = Config.fromfile(config).to_dict()
    branches = settings['model']['branches']
    settings['model']['branches'] = {name: branches[name] for name in ('transformer', 'cnn')}
    # Not as MMEngine writes it, which sorts names.
    config.write_text('\n'.join(f'{name} = {value!r}' for name, value in settings.items()))
    return config
