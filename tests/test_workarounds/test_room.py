"""The work-arounds: all of them are documented, and the installed packages still need them."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from mmcv.cnn.bricks import DropPath, transformer
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.fileio import LocalBackend
from mmengine.optim import AmpOptimWrapper
from mmengine.runner import CheckpointLoader, Runner
from mmpretrain.models.backbones import T2T_ViT, VisionTransformer

from fusionreid import workarounds
from fusionreid.config import read_config
from fusionreid.stack import find_stack

STACKS = Path(__file__).parents[2] / 'docs' / 'stacks.md'


def room() -> dict[str, object]:
    """What is public in the modules of the room, by its name there."""
    found = {}
    for module in pkgutil.iter_modules(workarounds.__path__, 'fusionreid.workarounds.'):
        content = vars(importlib.import_module(module.name))
        for name, value in content.items():
            defined = inspect.isclass(value) or inspect.isfunction(value)
            if defined and value.__module__ == module.name and not name.startswith('_'):
                found[f'{module.name.removeprefix("fusionreid.")}.{name}'] = value
    return found


def test_the_page_names_what_is_in_the_room():
    rows = re.findall(r'^\| `(workarounds\.[\w.]+)` \|', STACKS.read_text(), re.MULTILINE)
    assert rows == sorted(room())


def test_each_says_why_and_what_ends_it():
    for name, value in room().items():
        text = ' '.join(inspect.getdoc(value).split())
        assert 'Reason: ' in text, name
        assert re.search(r'\bIt ends with an? ?\w', text) or 'It ends with onedl' in text, name
        assert re.search(r'\d+\.\d+', text), name


class TornFile:
    """Bytes whose second half cannot be written."""

    def __len__(self) -> int:
        return 2


def test_an_interrupted_put_of_mmengine_leaves_half_a_file(tmp_path):
    with pytest.raises(TypeError):
        LocalBackend().put(TornFile(), tmp_path / 'file')
    assert (tmp_path / 'file').exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason='needs a machine without an accelerator')
def test_mixed_precision_of_mmengine_refuses_cpus():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    with pytest.raises(AssertionError):
        AmpOptimWrapper(optimizer=optimizer)


class Listed(BaseDataset):
    def load_data_list(self) -> list[dict[str, int]]:
        return [{'number': number} for number in range(4)]


@pytest.mark.skipif(find_stack() == 'onedl', reason='onedl-mmengine has mended it')
def test_subsets_of_mmengine_share_their_parts():
    data = Listed(pipeline=[])
    data.extra = []
    assert data.get_subset([0]).extra is data.get_subset([1]).extra


def test_mmengine_calls_collate_functions_with_their_scope(tmp_path):
    file = tmp_path / 'config.py'
    loader = "dict(collate_fn=dict(type='pseudo_collate', _scope_='mmengine'), batch_size=1)"
    file.write_text(f'train_dataloader = {loader}\n')
    parts = dict(dataset=Listed(), sampler=dict(type='DefaultSampler', shuffle=False))
    for cfg in (Config.fromfile(file), read_config(str(file))):
        loader = Runner.build_dataloader({**cfg.train_dataloader, **parts})
        if '_scope_' in cfg.train_dataloader.collate_fn:
            with pytest.raises(TypeError, match='_scope_'):
                next(iter(loader))
        else:
            assert next(iter(loader))['number'] == [0]
    assert cfg.train_dataloader.collate_fn == dict(type='pseudo_collate')


def test_the_runner_of_mmengine_prints_what_it_loads(tmp_path, capsys):
    torch.save({'state_dict': {}}, tmp_path / 'a.pth')
    assert (
        'logger'
        not in inspect.getsource(Runner.load_checkpoint)
        .partition('_load_checkpoint(')[2]
        .partition(')')[0]
    )
    CheckpointLoader.load_checkpoint(str(tmp_path / 'a.pth'), 'cpu', None)
    assert 'Loads checkpoint by' in capsys.readouterr().out


def test_backbones_of_mmpretrain_return_nothing_and_pass_numpy_scalars():
    backbone = VisionTransformer(
        arch=dict(embed_dims=8, num_layers=2, num_heads=1, feedforward_channels=8),
        img_size=16,
        drop_path_rate=0.1,
    )
    assert backbone.train() is None
    rates = [part.drop_prob for part in backbone.modules() if isinstance(part, DropPath)]
    assert any(isinstance(rate, np.floating) for rate in rates)


def test_t2t_vit_of_mmpretrain_is_square_and_scales_by_the_head():
    backbone = T2T_ViT(img_size=32, embed_dims=8, num_layers=1, layer_cfgs=dict(num_heads=1))
    attention = backbone.tokens_to_token.attention1.attn
    scale = attention.scaled_dot_product_attention.keywords['scale']
    assert scale == attention.head_dims**-0.5
    assert scale != (attention.input_dims // attention.num_heads) ** -0.5
    with pytest.raises((TypeError, AttributeError)):
        T2T_ViT(img_size=(32, 16), embed_dims=8, num_layers=1, layer_cfgs=dict(num_heads=1))


def test_mmcv_warns_of_an_operator():
    assert 'Fail to import ``MultiScaleDeformableAttention``' in inspect.getsource(transformer)
    with pytest.raises(ImportError):
        importlib.import_module('mmcv.ops.multi_scale_deform_attn')
