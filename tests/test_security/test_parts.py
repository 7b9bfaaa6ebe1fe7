"""What a config inside a checkpoint or an index can build."""

from __future__ import annotations

import importlib
import inspect
import json
import re
import sys

import pytest
import torch
from manifests import change_manifest
from mmengine.config import Config
from mmengine.registry import Registry

from fusionreid.apis.feature_extractor import FeatureExtractor
from fusionreid.config import (
    build_untrusted,
    clean_config,
    find_config,
    find_trusted,
    packaged_configs,
)
from fusionreid.errors import ConfigError, UserError
from fusionreid.gallery import Gallery
from fusionreid.models.retrievers.student_config import as_student
from fusionreid.registry import MODELS, TRANSFORMS

SCOPES = ('fusionreid', 'mmpretrain', 'mmengine')
# What reads, writes, imports or runs. A class that has none of it in its source, nor in that of
# its parents, only computes.
ACTS = re.compile(
    r'(?<![.\w])(?:eval|exec|open|compile|__import__)\s*\(|\b(?:import_module|torch\.load|torch\.hub'
    r'|load_checkpoint|load_url|from_pretrained|get_object_from_string|subprocess|urllib|requests'
    r'|os\.(?!path\.(?:join|basename)\b)|pickle|fileio|get_file_backend)\s*\('
)
# Why the exceptions are harmless: what they act on is an argument that is dropped.
EXCEPTIONS = {'TIMMBackbone': ('pretrained', 'checkpoint_path')}


def reachable(registry: Registry) -> dict[str, type]:
    """All names that a file can use, with their classes."""
    for name in ('mmpretrain.models', 'mmpretrain.datasets', 'fusionreid.models'):
        importlib.import_module(name)
    root = registry._get_root_registry()
    table = {}
    for scope in SCOPES:
        holder = root if scope == root.scope else root.children[scope]
        holder.import_from_location()
        for name in holder.module_dict:
            if (part := find_trusted(f'{scope}.{name}', registry)) is not None:
                table[f'{scope}.{name}'] = part
    return table


@pytest.mark.parametrize('registry', [MODELS, TRANSFORMS], ids=lambda registry: registry.name)
@pytest.mark.slow
def test_everything_that_a_file_can_name_only_computes(registry):
    table = reachable(registry)
    assert len(table) > 25
    acting = {}
    for name, part in table.items():
        assert inspect.isclass(part), name
        parents = [
            parent
            for parent in part.__mro__
            if parent.__module__.startswith(('fusionreid', 'mmpretrain', 'mmcv'))
        ]
        if part.__name__ in EXCEPTIONS:
            source = ''.join(inspect.getsource(parent) for parent in parents)
            assert all(argument in source for argument in EXCEPTIONS[part.__name__])
            continue
        for parent in parents:
            if found := ACTS.search(inspect.getsource(parent)):
                acting[name] = f'{parent.__name__} has {found[0]}'
    assert acting == {}


def test_functions_and_what_reads_files_are_out_of_reach():
    models, transforms = reachable(MODELS), reachable(TRANSFORMS)
    assert {'fusionreid.FusionReID', 'mmpretrain.ConvNeXt', 'mmengine.BN'} <= models.keys()
    assert {'fusionreid.LoadReIDImage', 'mmpretrain.RandAugment'} <= transforms.keys()
    for name in ('mmpretrain.BlipCaption', 'mmpretrain.ImageClassifier', 'mmpretrain.VQKD'):
        assert name not in models
    for name in ('LoadImageFromFile', 'Albumentations', 'Albu', 'torchvision/Lambda'):
        assert f'mmpretrain.{name}' not in transforms


HARMFUL = [
    "dict(type='mmengine.load', file='{url}/x.pkl')",
    "dict(type='mmengine.load', file='x.pkl')",
    "dict(type='mmengine.dump', obj=1, file='{victim}')",
    "dict(type='mmengine.remove', filepath='{victim}')",
    "dict(type='mmengine.fileio.remove', filepath='{victim}')",
    "dict(type='mmengine.registry.build_from_cfg')",
    "dict(type='mmengine.Config.fromfile', filename='{victim}')",
    "dict(type='mmcv.imread', img_or_path='{victim}')",
    "dict(type='fusionreid.checkpoints.read_weight_file', source='{victim}')",
    "dict(type='mmpretrain.get_model', model='resnet18_8xb32_in1k', pretrained=True)",
    "dict(type='mmpretrain.BlipCaption')",
    "dict(type='this')",
    "dict(type='antigravity')",
    "dict(type='canary')",
    "dict(type='canary.X')",
    "dict(type='IDLoss', _scope_='canary')",
    "dict(type='builtins.exec')",
    'dict(type=3)',
    "dict(type=['this'])",
    "dict(type='')",
    "dict(type='.')",
    "dict(type='canary.')",
    'dict(branches=1)',
    "dict(type='mmpretrain.TIMMBackbone', model_name='hf-hub:a/b')",
    "dict(type='BackboneAdapter', backbone=dict(type='timm', model_name='local-dir:/a'))",
    "dict(type='mmpretrain.ConvNeXt', norm_cfg=dict(type='canary'))",
    "dict(type='mmpretrain.VisionTransformer', patch_cfg=dict(conv_type='canary'))",
    "dict(type='mmpretrain.VisionTransformer', norm_cfg=dict(type='mmengine.remove'))",
    "dict(type='FusionReID', branches=dict(a=dict(backbone=dict(type='canary'))))",
    "dict(type='FusionReID', branches=dict(a=dict(backbone=[dict(type='mmengine.load')])))",
    "dict(type='FusionReID', data_preprocessor=dict(type='this'))",
]


@pytest.fixture
def canary(tmp_path, monkeypatch):
    """A package that says so when it is imported, and a file to delete."""
    (tmp_path / 'canary').mkdir()
    code = f"open({str(tmp_path / 'imported')!r}, 'w')\nclass X: pass\n"
    for name in ('__init__', 'registry'):
        (tmp_path / 'canary' / f'{name}.py').write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    victim = tmp_path / 'victim.txt'
    victim.write_text('precious')
    yield victim
    assert not (tmp_path / 'imported').exists()
    assert not {'canary', 'this', 'antigravity'} & sys.modules.keys()
    assert victim.read_text() == 'precious'


@pytest.mark.parametrize('part', HARMFUL)
def test_no_config_in_a_checkpoint_imports_calls_or_deletes(part, canary, tmp_path):
    model = part.format(victim=canary, url='http://127.0.0.1:9')
    text = f'input_size = (64, 32)\nmodel = {model}\n'
    checkpoint = tmp_path / 'a.pth'
    torch.save(dict(meta=dict(cfg=text), state_dict=dict(a=torch.ones(1))), checkpoint)
    with pytest.raises(UserError) as error:
        FeatureExtractor(checkpoint)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(
    'step',
    [
        "dict(type='mmengine.remove', filepath='{victim}')",
        "dict(type='Compose', transforms=[dict(type='mmengine.load')])",
        "dict(type='mmpretrain.Albumentations', transforms=[dict(type='load', path='a')])",
        "dict(type='mmpretrain.LoadImageFromFile')",
        "dict(type='mmpretrain.RandAugment', policies=[dict(type='canary')])",
        "'this'",
        '3',
    ],
)
def test_no_pipeline_in_an_index_imports_calls_or_deletes(step, canary, tmp_path):
    pipeline = step.format(victim=canary)
    text = (
        f"model = dict(type='FusionReID', branches=dict(color=dict(backbone=dict(\n"
        f"    type='ColorHistogram'))))\n"
        f'test_dataloader = dict(dataset=dict(pipeline=[{pipeline}]))\n'
    )
    with pytest.raises(UserError) as error:
        FeatureExtractor(config=text)
    assert '\n' not in str(error.value)


def test_a_name_that_a_part_makes_up_is_not_imported(canary):
    patches = dict(conv_type='canary')
    config = dict(type='mmpretrain.VisionTransformer', arch='deit-tiny', patch_cfg=patches)
    with pytest.raises(ConfigError, match="leads to 'canary', which is not a registered model"):
        build_untrusted(config, MODELS, 'an index')


@pytest.mark.parametrize(
    'extra',
    [
        dict(pretrained=True),
        dict(pretrained=True, pretrained_cfg=dict(file='VICTIM'), checkpoint_path='VICTIM'),
        dict(checkpoint_path='VICTIM', cache_dir='VICTIM'),
        dict(pretrained_cfg_overlay=dict(url='http://127.0.0.1:9/a'), pretrained=True),
        dict(init_cfg=dict(type='Pretrained', checkpoint='VICTIM')),
    ],
)
@pytest.mark.parametrize('kind', ['timm', 'TIMMBackbone'])
def test_networks_of_timm_neither_load_nor_download(kind, extra, canary, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError('opened a connection or a weight file')

    for name in (
        'socket.socket.connect',
        'socket.getaddrinfo',
        'torch.load',
        'safetensors.safe_open',
    ):
        monkeypatch.setattr(name, refuse)
    extra = json.loads(json.dumps(extra).replace('VICTIM', str(canary)))
    network = dict(type=kind, model_name='mobilenetv3_small_050', **extra)
    if kind == 'timm':
        network = dict(type='BackboneAdapter', backbone=network, img_size=(64, 32), **extra)
        network = {
            key: value
            for key, value in network.items()
            if key in ('type', 'backbone', 'img_size', 'init_cfg')
        }
    else:
        network['type'] = 'mmpretrain.TIMMBackbone'
    model = build_untrusted(network, MODELS, 'an index')
    assert sum(value.numel() for value in model.parameters()) > 1e5


@pytest.mark.slow
def test_the_configs_of_the_project_lose_nothing_that_matters():
    number = 0
    for name in packaged_configs():
        cfg = Config.fromfile(find_config(name)).to_dict()
        # A student is built without its teacher.
        for registry, part in [(MODELS, as_student(cfg.get('model') or {}))] + [
            (TRANSFORMS, step)
            for loader in ('val_dataloader', 'test_dataloader')
            for step in (cfg.get(loader) or {}).get('dataset', {}).get('pipeline', [])
        ]:
            if not part:
                continue
            number += 1
            assert clean_config(part, registry, name) == without_start(part)
    assert number > 10


def without_start(value):
    """A config without the weights that it starts from, and without compilation."""
    if isinstance(value, dict):
        left_out = ('init_cfg', 'pretrained', 'compile')
        return {key: without_start(item) for key, item in value.items() if key not in left_out}
    if isinstance(value, (list, tuple)):
        return type(value)(without_start(item) for item in value)
    return value


def test_the_config_of_an_index_is_no_more_trusted(canary, tmp_path):
    extractor = FeatureExtractor(config=find_config('color_histogram_synthetic'))
    gallery = Gallery(extractor)
    image = torch.randint(0, 255, (64, 32, 3), dtype=torch.uint8).numpy()
    gallery.add([image], ids=['a'])
    gallery.save(tmp_path / 'index')
    (manifest,) = (tmp_path / 'index').rglob('gallery.json')
    assert Gallery.load(tmp_path / 'index').search([image], 1).ids.tolist() == [['a']]
    attack = f"model = dict(type='mmengine.remove', filepath='{canary}')\n"

    def replace(config):
        change_manifest(manifest, lambda content: content['features'].update(config=config))

    replace(attack)
    assert 'mmengine.remove' in manifest.read_text()
    with pytest.raises(UserError):
        Gallery.load(tmp_path / 'index').search([image], 1)
    # Nor can it name a file, which would be run.
    (tmp_path / 'index' / 'evil.py').write_text('import canary\n')
    for attack in (str(tmp_path / 'index' / 'evil.py'), 'color_histogram_synthetic', ''):
        replace(attack)
        with pytest.raises(UserError, match='not the text of a config'):
            Gallery.load(tmp_path / 'index').search([image], 1)


def test_an_index_names_no_checkpoint_without_its_checksum(tmp_path):
    gallery = Gallery(FeatureExtractor(config=find_config('color_histogram_synthetic')))
    image = torch.randint(0, 255, (64, 32, 3), dtype=torch.uint8).numpy()
    gallery.add([image], ids=['a'])
    gallery.save(tmp_path / 'index')
    (manifest,) = (tmp_path / 'index').rglob('gallery.json')
    change_manifest(
        manifest, lambda content: content['features'].update(checkpoint='/etc/hostname')
    )
    with pytest.raises(UserError, match='without its sha256'):
        Gallery.load(tmp_path / 'index')


@pytest.mark.parametrize('loader', ['3', 'dict(dataset=[1])', 'dict(dataset=dict(pipeline=[{1}]))'])
def test_a_pipeline_of_another_form_in_an_index_is_refused(loader, tmp_path):
    extractor = FeatureExtractor(config=find_config('color_histogram_synthetic'))
    gallery = Gallery(extractor)
    gallery.add(torch.randint(0, 255, (64, 32, 3), dtype=torch.uint8).numpy(), ids=['a'])
    gallery.save(tmp_path / 'index')
    (manifest,) = (tmp_path / 'index').rglob('gallery.json')
    config = f'model = dict(type="ColorHistogram")\ntest_dataloader = {loader}\n'
    change_manifest(manifest, lambda content: content['features'].update(config=config))
    with pytest.raises(UserError):
        Gallery.load(tmp_path / 'index', extractor)


def test_an_index_makes_no_milvus(tmp_path):
    gallery = Gallery()
    gallery.add(features=torch.eye(2), ids=['a', 'b'])
    gallery.save(tmp_path / 'index')
    (manifest,) = (tmp_path / 'index').rglob('gallery.json')
    engine = dict(type='milvus', uri=str(tmp_path / 'made.db'))
    change_manifest(manifest, lambda content: content.update(engine=engine))
    with pytest.raises(UserError, match=r'is in Milvus at .*made.db, which does not exist'):
        Gallery.load(tmp_path / 'index')
    assert not (tmp_path / 'made.db').exists()
