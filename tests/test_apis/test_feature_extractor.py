"""From a checkpoint and images to features."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from image_trees import write_image, write_market
from mmengine.config import Config
from tiny_runs import ROOT, find_resize
from torch.nn import functional as F

from fusionreid.apis import FeatureExtractor
from fusionreid.apis.feature_extractor import default_pipeline
from fusionreid.cli.main import run_command
from fusionreid.config import find_config
from fusionreid.datasets.transforms.loading import read_image
from fusionreid.errors import (
    ConfigError,
    GalleryError,
    ImageDecodeError,
    InferenceError,
    WeightsError,
)
from fusionreid.evaluation import FeatureSet
from fusionreid.gallery import Gallery


def queries(data: Path) -> list[str]:
    return sorted(map(str, (data / 'query').glob('*.jpg')))


def cameras(paths: list[str]) -> list[int]:
    return [int(Path(path).name.split('_c')[1][0]) - 1 for path in paths]


@pytest.mark.slow
def test_features_are_those_that_are_scored(trained, tmp_path):
    data, config, checkpoint = trained
    run_command(
        'test',
        [str(config), str(checkpoint), '--work-dir', str(tmp_path), '--out', str(tmp_path / 'out')],
    )
    scored = FeatureSet.load(tmp_path / 'out')
    paths, camera_ids = scored.img_paths[::7], scored.camera_ids[::7].tolist()
    for name in ('all', 'cnn_fused'):
        extractor = FeatureExtractor(checkpoint, feature=name, batch_size=5)
        features = extractor.extract(paths, camera_ids)
        expected = F.normalize(scored.select(name)[::7])
        torch.testing.assert_close(features, expected, atol=1e-5, rtol=0)
        assert extractor.spec.width == expected.shape[1]


def test_cameras_count_and_unknown_ones_are_the_mean(trained):
    data, _, checkpoint = trained
    paths = queries(data)[:4]
    extractor = FeatureExtractor(checkpoint, feature='transformer')
    told = extractor.extract(paths, cameras(paths))
    unknown = extractor.extract(paths)
    torch.testing.assert_close(extractor.extract(paths, [-1] * 4), unknown)
    assert (told - unknown).abs().max() > 1e-5
    mean = FeatureExtractor(checkpoint, feature='transformer', use_cameras=False)
    torch.testing.assert_close(mean.extract(paths, [40, 0, 1, 2]), unknown)
    assert 'mean camera' in mean.spec.protocol
    assert mean.spec.label != extractor.spec.label
    torch.testing.assert_close(extractor.extract(paths, [-7] * 4), unknown)
    assert extractor.known_cameras == 6
    assert mean.known_cameras == 0
    message = r'is of camera 41, .*camera_id 40 .* cameras 1 to 6: .* -1 .*use_cameras=False'
    with pytest.raises(InferenceError, match=message):
        extractor.extract(paths, [0, 40, 1, 2])
    with pytest.raises(InferenceError, match='camera_ids must be whole'):
        extractor.extract(paths, ['1', '2', '3', '4'])


def test_paths_and_arrays_give_the_same(trained):
    data, _, checkpoint = trained
    paths = queries(data)[:5]
    arrays = [read_image(path) for path in paths]
    extractor = FeatureExtractor(checkpoint, feature='cnn', batch_size=2)
    features = extractor.extract(paths)
    torch.testing.assert_close(extractor.extract(arrays), features, atol=1e-6, rtol=0)
    turned = [array[..., ::-1] for array in arrays]
    bgr = extractor.extract(turned, channel_order='bgr')
    torch.testing.assert_close(bgr, features, atol=1e-6, rtol=0)
    assert (extractor.extract(turned) - features).abs().max() > 1e-3
    mixed = extractor.extract([paths[0], arrays[1]])
    torch.testing.assert_close(mixed, features[:2], atol=1e-6, rtol=0)
    assert extractor.extract([]).shape == (0, extractor.spec.width)


@pytest.mark.slow
def test_the_config_is_found_in_the_checkpoint_beside_it_or_named(trained, tmp_path):
    data, config, checkpoint = trained
    paths = queries(data)[:2]
    expected = FeatureExtractor(checkpoint, feature='cnn').extract(paths)
    bare = tmp_path / 'bare.pth'
    torch.save(torch.load(checkpoint, weights_only=True)['state_dict'], bare)
    with pytest.raises(ConfigError, match='holds no config, and 0 .py files lie beside it'):
        FeatureExtractor(bare)
    named = FeatureExtractor(bare, config, feature='cnn')
    torch.testing.assert_close(named.extract(paths), expected)
    (tmp_path / 'config.py').write_text(Config.fromfile(config).pretty_text)
    torch.testing.assert_close(FeatureExtractor(bare, feature='cnn').extract(paths), expected)
    # The text that an index holds is enough.
    again = FeatureExtractor(bare, named.spec.config, feature='cnn')
    torch.testing.assert_close(again.extract(paths), expected)
    with pytest.raises(ConfigError, match="no config file 'nothing.py'"):
        FeatureExtractor(bare, 'nothing.py')
    for text, message in (
        ('model = dict(', r'broken.py is no valid config .*SyntaxError'),
        (
            Path(config).read_text() + "model['neck'] = dict(type='Nope')",
            "type='Nope': Nope is not",
        ),
    ):
        (tmp_path / 'broken.py').write_text(text)
        with pytest.raises(ConfigError, match=message):
            FeatureExtractor(bare, tmp_path / 'broken.py')


@pytest.mark.slow
def test_weights_with_the_config_of_the_model_alone(trained, tmp_path):
    """As converted weights are: the input size is the model's."""
    data, config, checkpoint = trained
    content = torch.load(checkpoint, weights_only=True)
    model = Config.fromfile(config).model
    content['meta']['cfg'] = Config(dict(model=model, input_size=(64, 32))).pretty_text
    torch.save(content, tmp_path / 'a.pth')
    paths = queries(data)[:3]
    expected = FeatureExtractor(checkpoint).extract(paths)
    torch.testing.assert_close(FeatureExtractor(tmp_path / 'a.pth').extract(paths), expected)
    content['meta']['cfg'] = Config(dict(model=model)).pretty_text
    torch.save(content, tmp_path / 'a.pth')
    with pytest.raises(ConfigError, match='neither a test pipeline nor an input_size'):
        FeatureExtractor(tmp_path / 'a.pth')
    for size in (256, (64, 32, 3)):
        content['meta']['cfg'] = Config(dict(model=model, input_size=size)).pretty_text
        torch.save(content, tmp_path / 'a.pth')
        with pytest.raises(ConfigError, match='nor an input_size of two numbers'):
            FeatureExtractor(tmp_path / 'a.pth')
    loader = dict(dataset=dict(pipeline=[dict(type='PackReIDInputs')]))
    content['meta']['cfg'] = Config(dict(model=model, test_dataloader=loader)).pretty_text
    torch.save(content, tmp_path / 'a.pth')
    message = r"the test pipeline has no dict\(type='LoadReIDImage'\): .*PackReIDInputs"
    with pytest.raises(ConfigError, match=message):
        FeatureExtractor(tmp_path / 'a.pth')


@pytest.mark.parametrize(
    'path',
    [
        ROOT / 'configs/_base_/datasets/reid.py',
        ROOT / 'configs/_base_/datasets/synthetic.py',
        find_config('fusionreid_vitb_r50_msmt17_384x128'),
    ],
    ids=lambda path: path.stem,
)
def test_the_default_pipeline_is_that_of_the_configs(path):
    cfg = Config.fromfile(path)
    configured = [dict(step) for step in cfg.test_dataloader.dataset.pipeline]
    assert default_pipeline(cfg.input_size) == configured


def test_the_loader_is_found_wherever_it_stands(trained, tmp_path):
    data, config, checkpoint = trained
    cfg = Config.fromfile(config)
    # mmcv's, which does nothing here.
    nothing = dict(type='RandomApply', transforms=[], prob=1.0)
    for loader in (cfg.test_dataloader, cfg.val_dataloader):
        loader.dataset.pipeline.insert(0, nothing)
    (tmp_path / 'config.py').write_text(cfg.pretty_text)
    paths = queries(data)[:2]
    expected = FeatureExtractor(checkpoint, feature='cnn').extract(paths)
    extractor = FeatureExtractor(checkpoint, tmp_path / 'config.py', feature='cnn')
    torch.testing.assert_close(extractor.extract(paths), expected)
    arrays = [read_image(path) for path in paths]
    torch.testing.assert_close(extractor.extract(arrays), expected)


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ("model = open('{flag}', 'w')", 'not made of literal values'),
        ("model = dict(type=open('{flag}', 'w'))", 'not made of literal values'),
        ("model = dict(type='subprocess.getoutput', cmd='touch {flag}')", 'subprocess.getoutput'),
        ("model = dict(branches=dict(a=dict(type='os.system')))", 'os.system'),
        ('model = dict(', 'not made of literal values'),
        ('model = {{[1]: 2}}', 'not made of literal values'),
    ],
)
def test_a_config_that_comes_with_weights_is_never_run(line, message, tmp_path):
    flag = tmp_path / 'flag'
    checkpoint = tmp_path / 'a.pth'
    text = line.format(flag=flag)
    torch.save(dict(meta=dict(cfg=text), state_dict=dict(a=torch.ones(1))), checkpoint)
    with pytest.raises(ConfigError, match=message) as error:
        FeatureExtractor(checkpoint)
    assert '\n' not in str(error.value)
    assert not flag.exists()


def test_code_around_the_settings_of_a_config_is_never_run(tmp_path):
    flag = tmp_path / 'flag'
    checkpoint = tmp_path / 'a.pth'
    text = f"import os\nopen('{flag}', 'w')\nx = 1"
    torch.save(dict(meta=dict(cfg=text), state_dict=dict(a=torch.ones(1))), checkpoint)
    with pytest.raises(ConfigError, match='has no model'):
        FeatureExtractor(checkpoint)
    assert not flag.exists()


def test_weights_that_do_not_fit_are_refused(trained, tmp_path):
    data, config, checkpoint = trained
    content = torch.load(checkpoint, weights_only=True)
    name = next(name for name in content['state_dict'] if name.endswith('conv1.weight'))
    del content['state_dict'][name]
    content['state_dict']['surplus'] = torch.ones(1)
    torch.save(content, tmp_path / 'a.pth')
    with pytest.raises(WeightsError, match=f'{name} is missing; surplus is left over'):
        FeatureExtractor(tmp_path / 'a.pth')
    with pytest.raises(WeightsError, match='name the checkpoint'):
        FeatureExtractor(config=config)
    with pytest.raises(WeightsError, match='there is no such file'):
        FeatureExtractor(tmp_path / 'nothing.pth')
    with pytest.raises(ConfigError, match="feature 'nose' is unknown: the model gives"):
        FeatureExtractor(checkpoint, feature='nose')
    with pytest.raises(ConfigError, match='neither a checkpoint nor a config'):
        FeatureExtractor()
    with pytest.raises(ConfigError, match='batch_size must be whole, of 64 bits, got 2.5'):
        FeatureExtractor(checkpoint, batch_size=2.5)


@pytest.mark.parametrize(
    ('image', 'message'),
    [
        (np.zeros((4, 4, 2), np.uint8), r'image 1 is uint8 of shape \(4, 4, 2\), expected a path'),
        (np.zeros((4, 4, 3), np.float32), 'float32'),
        (7, 'int of shape'),
    ],
)
def test_what_is_no_image_is_refused_before_anything_is_computed(trained, image, message):
    extractor = FeatureExtractor(trained[2], feature='cnn')
    with pytest.raises(InferenceError, match=message):
        next(extractor.batches([queries(trained[0])[0], image]))
    with pytest.raises(InferenceError, match='got 1 images but 2 camera_ids'):
        extractor.extract([queries(trained[0])[0]], [0, 0])


def test_an_undecodable_image_is_named_and_the_others_are_kept(trained, tmp_path):
    extractor = FeatureExtractor(trained[2], feature='cnn', batch_size=2)
    good = [str(write_image(tmp_path / f'{number}.jpg', number)) for number in range(5)]
    (tmp_path / 'cut.jpg').write_bytes((tmp_path / '0.jpg').read_bytes()[:100])
    paths = [good[0], str(tmp_path / 'cut.jpg'), *good[1:3], str(tmp_path / 'gone.jpg'), *good[3:]]
    gallery = Gallery(extractor)
    report = gallery.add(paths)
    assert report.added == len(gallery) == 5
    assert list(report.failed) == [paths[1], paths[4]]
    assert 'cut.jpg' in report.failed[paths[1]]
    assert 'does not exist' in report.failed[paths[4]]
    found = gallery.search(good, 1)
    assert found.ids[:, 0].tolist() == good
    assert found.distances.max() < 1e-6
    with pytest.raises(ImageDecodeError, match='gone.jpg'):
        gallery.search(paths[4], 1)


@pytest.mark.parametrize('value', [torch.nan, torch.inf, 0])
def test_a_feature_that_is_none_stops_with_what_was_computed(value, trained, tmp_path, monkeypatch):
    extractor = FeatureExtractor(trained[2], feature='cnn', batch_size=2)
    paths = [str(write_image(tmp_path / f'{number}.jpg', number)) for number in range(6)]
    honest = extractor.model.test_step

    def spoiled(data: dict) -> list:
        samples = honest(data)
        for sample in samples:
            if sample.img_path == paths[3]:
                sample.features['cnn'].fill_(value)
        return samples

    monkeypatch.setattr(extractor.model, 'test_step', spoiled)
    gallery = Gallery(extractor)
    message = r'the feature of .*/3.jpg (is zero|holds a NaN or infinite value) \(1 of 2'
    with pytest.raises(InferenceError, match=message) as error:
        gallery.add(paths)
    assert '\n' not in str(error.value)
    assert gallery.known(paths) == set(paths[:2])
    with pytest.raises(InferenceError, match='3.jpg'):
        gallery.search(paths[3], 1)


def test_a_gallery_refuses_images_prepared_otherwise(trained, tmp_path):
    data, config, checkpoint = trained
    gallery = Gallery(FeatureExtractor(checkpoint, feature='cnn'))
    gallery.add(queries(data)[:3])
    gallery.save(tmp_path / 'index')
    cfg = Config.fromfile(config)
    resize = find_resize(cfg.test_dataloader.dataset.pipeline)
    # Another file with the same settings is no other model.
    (tmp_path / 'same.py').write_text(cfg.pretty_text)
    Gallery.load(tmp_path / 'index').use_model(config=tmp_path / 'same.py')
    resize.interpolation = 'bicubic'
    (tmp_path / 'other.py').write_text(cfg.pretty_text)
    with pytest.raises(GalleryError, match='were prepared by .*AntialiasedResize') as error:
        Gallery.load(tmp_path / 'index').use_model(config=tmp_path / 'other.py')
    assert '\n' not in str(error.value)


@pytest.mark.slow
def test_a_saved_gallery_finds_its_model(trained, tmp_path):
    data, _, checkpoint = trained
    own = tmp_path / 'epoch_2.pth'
    shutil.copy(checkpoint, own)
    gallery = Gallery(FeatureExtractor(own, feature='cnn'))
    paths = queries(data)[:6]
    gallery.add(paths, camera_ids=cameras(paths))
    gallery.save(tmp_path / 'index')
    again = Gallery.load(tmp_path / 'index')
    assert again.search(paths[2], 1).ids.tolist() == [[paths[2]]]

    with pytest.raises(GalleryError, match='width 64 .cnn.*the model gives width'):
        Gallery.load(tmp_path / 'index', FeatureExtractor(own))
    other = tmp_path / 'other.pth'
    content = torch.load(own, weights_only=True)
    content['state_dict'] = {name: value * 1 for name, value in content['state_dict'].items()}
    next(iter(content['state_dict'].values())).view(-1)[0] += 1
    torch.save(content, other)
    with pytest.raises(GalleryError, match=r'another model or protocol: .*epoch_2.*other.pth'):
        Gallery.load(tmp_path / 'index', FeatureExtractor(other, feature='cnn'))
    own.rename(tmp_path / 'moved.pth')
    with pytest.raises(GalleryError, match=r'made with epoch_2.pth .* is not at .*--checkpoint'):
        Gallery.load(tmp_path / 'index').search(paths[0], 1)
    again = Gallery.load(tmp_path / 'index')
    again.use_model(tmp_path / 'moved.pth')
    assert again.search(paths[3], 1).ids.tolist() == [[paths[3]]]
    with pytest.raises(GalleryError, match='name the right checkpoint'):
        again.use_model(other)


def test_a_model_without_weights_needs_no_checkpoint(tmp_path):
    root = write_market(tmp_path)
    extractor = FeatureExtractor(config='color_histogram_synthetic')
    gallery = Gallery(extractor)
    images = sorted((root / 'bounding_box_test').glob('*.jpg'))
    gallery.add(images)
    gallery.save(tmp_path / 'index')
    again = Gallery.load(tmp_path / 'index')
    assert again.search(images, 1).ids[:, 0].tolist() == [str(image) for image in images]
