"""Every config is built, as it is and small enough to train a step, and described in its folder."""

from __future__ import annotations

import copy
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import mmengine
import pytest
import torch
from mmengine.config import Config, ConfigDict
from tiny_runs import ROOT, find_resize, shrink_model

from fusionreid.config import config_metadata, read_config
from fusionreid.config.files import OTHERS
from fusionreid.models import build_on_meta, is_distiller
from fusionreid.registry import DATASETS, MODELS
from fusionreid.structures import ReIDDataSample

FOLDER = ROOT / 'configs'
CONFIGS = sorted(
    path for path in FOLDER.rglob('*.py') if OTHERS.isdisjoint(path.relative_to(FOLDER).parts)
)
METAFILES = sorted(FOLDER.rglob('metafile.yml'))
# Those for rendered people are small as they are.
SMALL = ('_synthetic', '_vittiny_')
FULL_SIZE = [path for path in CONFIGS if not any(word in path.stem for word in SMALL)]
PUBLISHED = {'msmt17': (1041, 15), 'market1501': (751, 6), 'dukemtmc': (702, 8)}
# Data sets that the paper does not have.
OTHERS = {
    'occludedduke': (702, 8),
    'cuhk03labeled': (767, 2),
    'cuhk03detected': (767, 2),
    'ltcc': (77, 12),
    'prcc': (150, 3),
    'veri776': (576, 20),
    'vehicleid': (13164, 0),
    'mars': (625, 6),
    'occludedreid': (751, 6),
}
# People of the sources of domain generalization: those who train, and all of them.
SOURCES = {
    'Market-1501': (751, 1501),
    'MSMT17': (1041, 4101),
    'CUHK02': (1816, 1816),
    'CUHK03': (767, 1467),
    'CUHK-SYSU': (11934, 11934),
}
PROTOCOLS = ('1', *(f'{n}-{data}' for n in (2, 3) for data in ('market1501', 'msmt17', 'cuhk03')))
# By their part of a config's name: architecture, class or network; width; patches that may
# overlap; side information embedding.
TRANSFORMERS = {
    'vitb': ('base', 768, True, True),
    'deitb': ('deit-base', 768, True, True),
    'deitt': ('deit-tiny', 192, True, True),
    't2t14': ('ReIDT2TViT', 384, False, True),
    't2t24': ('ReIDT2TViT', 512, False, True),
    'swint': ('mmpretrain.SwinTransformer', 768, False, False),
    'swinb': ('mmpretrain.SwinTransformer', 1024, False, False),
    'vits': ('vit_small_patch16_224', 384, False, False),
}
RECIPE_TRANSFORMERS = {**TRANSFORMERS, 'vits': ('deit-small', 384, True, True)}
CNN_WIDTHS = {'r18': 512, 'r50': 2048, 'r101': 2048, 'r152': 2048, 'convnextt': 768}
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
LITE = dict(patch_pooling=2, encode_once=True)


def first_ones_quickly(paths: list[Path]) -> list[Any]:
    """Parameters of which the first of each folder is not slow."""
    firsts = {path.parent: path for path in reversed(paths)}.values()
    slow = pytest.mark.slow
    return [path if path in firsts else pytest.param(path, marks=slow) for path in paths]


@cache
def read(path: Path) -> Config:
    return Config.fromfile(path)


def load(path: Path) -> Config:
    """Read a config; the ones for own data get the counts that their user would give."""
    cfg = copy.deepcopy(read(path))
    if 'custom' in path.stem:
        cfg.model.head.num_classes = 3
        cfg.model.branches.transformer.backbone.num_cameras = 2
    return cfg


def give_teacher(student: ConfigDict, checkpoint: Path) -> None:
    """Make the teacher of a student tiny, and write weights of it."""
    model = copy.deepcopy(read_config(student.teacher.cfg).model)
    shrink_model(model)
    torch.save(dict(state_dict=MODELS.build(model).state_dict()), checkpoint)
    student.teacher.update(cfg=model, checkpoint=str(checkpoint))


@pytest.mark.parametrize('path', first_ones_quickly(CONFIGS), ids=lambda path: path.stem)
def test_one_training_step_and_one_prediction(path: Path, tmp_path):
    cfg = load(path)
    shrink_model(cfg.model)
    if is_distiller(cfg.model):
        give_teacher(cfg.model, tmp_path / 'teacher.pth')
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
        distilled = cfg.model.get('distill_losses', ())
        assert len(losses) == 2 * len(model.feature_widths) + len(distilled)
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


@pytest.mark.parametrize('path', first_ones_quickly(FULL_SIZE), ids=lambda path: path.stem)
def test_the_name_says_what_is_inside_at_full_size(path: Path):
    cfg, words = load(path), re.sub('^fusionreid_', '', path.stem).split('_')
    model, branches = cfg.model, cfg.model.branches
    built = build_on_meta(model)
    is_recipe = path.parent.name == 'recipes'
    cnn = next((word for word in words if word in CNN_WIDTHS), None)
    transformer = next((word for word in words if word in TRANSFORMERS), None)
    neck = dict(num_layers=2, embed_dims=768, units=('seu', 'mfu'), shared=('seu',))
    if transformer == 'deitt':
        neck.update(embed_dims=192, num_heads=6)
    for word in words:
        neck.update(ABLATIONS.get(word, {}))
    if 'lite' in words:
        neck.update(LITE)

    widths = {}
    if cnn:
        widths['cnn'] = CNN_WIDTHS[cnn]
        backbone = branches.cnn.backbone
        if cnn != 'convnextt':
            assert f'r{backbone.depth}' == cnn
            # That of the weights that it starts from.
            assert backbone.stem == ('standard' if is_recipe else 'release')
    if transformer:
        known = RECIPE_TRANSFORMERS if is_recipe else TRANSFORMERS
        kind, widths['transformer'], overlapping, sie = known[transformer]
        backbone = branches.transformer.backbone
        kinds = [backbone.type, backbone.get('arch'), *backbone.get('backbone', {}).values()]
        assert kind in kinds
        assert tuple(backbone.img_size) == tuple(cfg.input_size)
        if overlapping:
            small = 's16' in words or transformer == 'deitt'
            assert backbone.patch_stride == (16 if small else 12)
            assert backbone.get('keep_ratio', 1) == (0.25 if 'tome' in words else 1)
    if cnn and transformer:
        assert {key: model.neck.get(key, True) for key in neck} == neck
        for stage in ('refined', 'fused'):
            widths |= {f'{branch}_{stage}': neck['embed_dims'] for branch in branches}
    else:
        assert not model.neck
    assert built.feature_widths == widths

    for name, (ids, cameras) in (PUBLISHED | OTHERS).items():
        if name in words:
            assert built.num_classes == ids
            assert built.num_cameras == (cameras if transformer and sie else 0)
    sizes = [tuple(map(int, word.split('x'))) for word in words if re.fullmatch(r'\d+x\d+', word)]
    size = sizes[0] if sizes else (256, 128)
    for pipeline in (cfg.train_dataloader.dataset.pipeline, cfg.test_dataloader.dataset.pipeline):
        assert find_resize(pipeline).scale == size[::-1]


def joined_names(cfg: Config) -> list[str]:
    """Published names of the data sets that a config joins."""
    train = cfg.train_dataloader or {}
    return [
        each.get('dataset_name') or published_name(each.type)
        for each in train.get('dataset', {}).get('datasets', ())
    ]


def published_name(kind: str) -> str:
    return DATASETS.get(f'fusionreid.{kind}').METAINFO['dataset_name']


def test_the_protocols_of_domain_generalization():
    for path in CONFIGS:
        if not (protocol := re.search(r'protocol(\d)(?:-(\w+))?', path.stem)):
            continue
        cfg, unseen = load(path), protocol[2]
        sources = joined_names(cfg)
        everything = protocol[1] != '2'
        train = cfg.train_dataloader.dataset
        assert train.get('images', 'train') == ('all' if everything else 'train')
        assert cfg.model.head.num_classes == sum(SOURCES[name][everything] for name in sources)
        tested = [each.type for each in cfg.test_cfg.get('datasets', [cfg.test_dataloader.dataset])]
        assert not {each.type for each in train.datasets} & set(tested)
        # Nothing may be chosen by what is unseen.
        assert cfg.val_cfg is cfg.val_dataloader is cfg.val_evaluator is None
        if unseen is None:
            assert sources == ['Market-1501', 'CUHK02', 'CUHK03', 'CUHK-SYSU']
            assert tested == ['PRID2011', 'GRID', 'VIPeR', 'ILIDS']
        else:
            (target,) = tested
            assert target.lower() == unseen
            assert {*sources, published_name(target)} == SOURCES.keys() - {'CUHK02'}


def names_in(folder: str) -> set[str]:
    return {path.stem for path in (FOLDER / folder).glob('*.py')}


def test_the_published_rows_and_they_alone_lie_at_the_top():
    expected = {
        f'fusionreid_vitb_r50_{data}{suffix}'
        for data in PUBLISHED
        for suffix in ('', '_s16', '_384x128', '_s16_384x128')
    }
    expected |= {
        f'fusionreid_{transformer}_{cnn}_msmt17'
        for transformer in ('vitb', 'deitb', 't2t14')
        for cnn in ('r50', 'r101', 'r152')
    }
    assert names_in('.') == expected


@pytest.mark.slow
def test_what_the_folders_hold():
    assert names_in('ablations') == {f'fusionreid_vitb_r50_msmt17_{word}' for word in ABLATIONS}
    branches = ('r50', 'r101', 'r152', 'vitb', 'deitb', 't2t14', 't2t24')
    assert names_in('baselines') == {
        *(f'{branch}_msmt17' for branch in branches),
        *(f'{branch}_{data}' for branch in ('r50', 'vitb') for data in PUBLISHED),
    }
    rendered = {path.stem for path in CONFIGS if load(path).get('data_root') == 'data/synthetic'}
    students = {name for name in names_in('distillation') if '_synthetic_' in name}
    assert names_in('synthetic') | students == rendered
    assert all(name.endswith('_distilled') for name in names_in('distillation'))
    assert all('_custom_' in name for name in names_in('custom'))
    others = {name.removeprefix('fusionreid_vitb_r50_') for name in names_in('other_datasets')}
    assert {name.split('_')[0] for name in others} == OTHERS.keys()
    assert names_in('domain_generalization') == {
        'r18_synthetic_worlds',
        *(f'fusionreid_vitb_r50_protocol{suffix}' for suffix in PROTOCOLS),
    }
    assert names_in('lite') == {
        f'fusionreid_lite_vitb_r50_{data}{suffix}' for data in PUBLISHED for suffix in ('', '_tome')
    }
    for cnn in ('r50', 'r101', 'r152'):
        assert f'fusionreid_t2t24_{cnn}_msmt17' in names_in('other_backbones')


def test_every_config_is_in_the_one_metafile_of_its_folder():
    listed = Counter()
    for file in METAFILES:
        meta = mmengine.load(file)
        (collection,) = meta['Collections']
        assert ROOT / collection['README'] == file.parent / 'README.md'
        for model in meta['Models']:
            assert ROOT / model['Config'] == file.parent / f'{model["Name"]}.py'
            assert model['In Collection'] == collection['Name']
            listed[ROOT / model['Config']] += 1
    assert listed == dict.fromkeys(CONFIGS, 1)
    assert {file.parent for file in METAFILES} == {path.parent for path in CONFIGS}
    imported = mmengine.load(ROOT / 'model-index.yml')['Import']
    assert sorted(ROOT / file for file in imported) == METAFILES
    names = [mmengine.load(file)['Collections'][0]['Name'] for file in METAFILES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_the_metadata_are_those_of_the_config(path: Path):
    cfg, entry = load(path), config_metadata()[path.stem]
    metadata = entry['Metadata']
    assert metadata['Input Size'] == '{}x{}'.format(*cfg.input_size)
    transformer = cfg.model.branches.get('transformer')
    stride = transformer.backbone.get('patch_stride') if transformer else None
    assert metadata.get('Patch Stride') == stride
    data = {
        'MSMT17': f'MSMT17 ({cfg.get("train_split", "").replace("+", " + ")})',
        'Market1501': 'Market-1501',
        'DukeMTMCReID': 'DukeMTMC-reID',
        'MarketStyleDataset': 'custom data' if 'custom' in path.stem else 'rendered people',
        'CsvDataset': 'custom data',
        'OccludedDuke': 'Occluded-Duke',
        'CUHK03': 'CUHK03',
        'LTCC': 'LTCC',
        'PRCC': 'PRCC',
        'VeRi776': 'VeRi-776',
        'VehicleID': 'VehicleID',
        'MARS': 'MARS',
        'JointDataset': ' + '.join(joined_names(cfg)),
    }[cfg.dataset_type]
    assert metadata.get('Training Data') == (data if cfg.train_dataloader else None)
    # All numbers are the authors', and there are no weights of ours that have them.
    assert (metadata.get('Numbers') == 'published') == ('Results' in entry)
    assert 'Weights' not in entry
    for result in entry.get('Results', ()):
        assert result['Dataset'] == data.partition(' (')[0]
        assert 0 < result['Metrics']['mAP'] < result['Metrics']['Rank-1'] < 100


def test_which_configs_have_published_numbers():
    published = {name for name, entry in config_metadata().items() if 'Results' in entry}
    branches = ('r50', 'r101', 'r152', 'vitb', 'deitb', 't2t14')
    assert published == names_in('.') | {f'{branch}_msmt17' for branch in branches}
    # The fifteen rows of the paper's table of sizes.
    sizes = {name for name, entry in config_metadata().items() if 'FLOPs' in entry['Metadata']}
    assert len(sizes) == 15
    for name, entry in config_metadata().items():
        per_feature = {
            key for key in entry.get('Results', [{}])[0].get('Metrics', ()) if ' of ' in key
        }
        assert bool(per_feature) == (name in sizes and name in names_in('.'))


def figures_of(entry: dict) -> set[tuple[float, float]]:
    """The pairs of published figures of a config: mAP and Rank-1, parameters and multiply-adds."""
    pairs = set()
    for result in entry.get('Results', ()):
        metrics = result['Metrics']
        for key in metrics:
            if key.startswith('mAP'):
                pairs.add((metrics[key], metrics[key.replace('mAP', 'Rank-1')]))
    if 'FLOPs' in entry['Metadata']:
        pairs.add((entry['Metadata']['Parameters'] / 1e6, entry['Metadata']['FLOPs'] / 1e9))
    return pairs


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_the_readme_of_the_folder_lists_the_config(path: Path):
    lines = (path.parent / 'README.md').read_text().splitlines()
    rows = [line for line in lines if line.startswith(f'| [{path.stem}]({path.name})')]
    assert rows
    figures = set()
    for row in rows:
        (command, name) = re.findall(r'`fusionreid ([\w-]+) ([\w-]+)', row)[0]
        assert (command, name) == (
            'train' if load(path).train_dataloader else 'test',
            path.stem,
        )
        figures |= {
            (float(first), float(second))
            for first, second in re.findall(r'(\d+\.\d)(?: \([^)]*\))? / (\d+\.\d)', row)
        }
    assert figures == figures_of(config_metadata()[path.stem])


@pytest.mark.parametrize('path', METAFILES, ids=lambda path: path.parent.name)
def test_readmes_say_whose_figures_they_show(path: Path):
    text = (path.parent / 'README.md').read_text()
    # Where there are figures, it says whose they are.
    published = any('Results' in entry for entry in mmengine.load(path)['Models'])
    assert published == ("**the authors'**" in text)


@pytest.mark.parametrize('model', ['vitb_r50', 'deitt_r18', 'vittiny_r18'])
@pytest.mark.parametrize('name', ['custom_market', 'custom_csv'])
def test_configs_for_own_data_ask_for_the_two_counts(model, name):
    path = FOLDER / 'custom' / f'fusionreid_{model}_{name}.py'
    cfg = Config.fromfile(path)
    shrink_model(cfg.model)
    with pytest.raises(ValueError, match=r'model\.branches\.transformer\.backbone\.num_cameras=6'):
        MODELS.build(cfg.model)
    cfg.merge_from_dict({'model.branches.transformer.backbone.num_cameras': 2})
    with pytest.raises(ValueError, match=r'got None.*--cfg-options model\.head\.num_classes=751'):
        MODELS.build(cfg.model)
    cfg.merge_from_dict({'model.head.num_classes': 3})
    assert MODELS.build(cfg.model).num_classes == 3
