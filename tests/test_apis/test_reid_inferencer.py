"""Whatever shows a person becomes the same features, and what is no image is named."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.infer import BaseInferencer
from PIL import Image
from small_models import FEATURES

import fusionreid
from fusionreid.apis import Calibration, ReIDInferencer, calibration_path, save_calibration
from fusionreid.cli.main import run_command
from fusionreid.datasets.transforms import read_image
from fusionreid.errors import (
    CalibrationError,
    ConfigError,
    ImageDecodeError,
    InferenceError,
    WeightsError,
)
from fusionreid.evaluation import FeatureSet
from fusionreid.gallery import Gallery
from fusionreid.structures import ReIDDataSample
from fusionreid.utils.names import number_of


@pytest.fixture(scope='module')
def inferencer(trained) -> ReIDInferencer:
    return ReIDInferencer(pretrained=trained[2], device='cpu', batch_size=4)


@pytest.fixture(scope='module')
def photo(trained) -> Path:
    return min((trained[0] / 'query').glob('*.jpg'))


@pytest.fixture(scope='module')
def pixels(photo) -> np.ndarray:
    return read_image(str(photo))


def assert_same(result, expected) -> None:
    assert list(result.features) == list(FEATURES)
    for name in FEATURES:
        scale = np.abs(expected.features[name]).max()
        np.testing.assert_allclose(
            result.features[name], expected.features[name], rtol=0, atol=1e-6 * scale
        )
    np.testing.assert_allclose(result.embedding, expected.embedding, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ('kind', 'settings'),
    [
        ('text', {}),
        ('path', {}),
        ('rgb', {}),
        ('bgr', {'channel_order': 'bgr'}),
        ('bgra', {'channel_order': 'bgr'}),
        ('reversed strides', {'channel_order': 'bgr'}),
        ('pillow', {}),
        ('unloaded pillow', {}),
        ('pillow RGBA', {}),
        ('frame', {}),
        ('bgr frame', {'channel_order': 'bgr'}),
        ('pillow frame, bgr arrays', {'channel_order': 'bgr'}),
        ('path frame', {}),
    ],
)
def test_every_kind_of_input_gives_the_same_features(inferencer, photo, pixels, kind, settings):
    expected = inferencer(str(photo))[0]
    picture = Image.fromarray(pixels)
    height, width = pixels.shape[:2]
    around = np.full((height + 20, width + 30, 3), 90, np.uint8)
    around[10 : 10 + height, 15 : 15 + width] = pixels
    box = [[15, 10, 15 + width, 10 + height]]
    whole = torch.tensor([[-4.0, -4, width + 9, height + 9]])
    given = {
        'text': str(photo),
        'path': photo,
        'rgb': pixels,
        'bgr': cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR),
        'bgra': cv2.cvtColor(pixels, cv2.COLOR_RGB2BGRA),
        'reversed strides': pixels[..., ::-1],
        'pillow': picture,
        'unloaded pillow': Image.open(photo),
        'pillow RGBA': picture.convert('RGBA'),
        'frame': (around, np.array(box)),
        'bgr frame': (around[..., ::-1], box),
        'pillow frame, bgr arrays': (Image.fromarray(around), box),
        'path frame': (photo, whole),
    }[kind]
    results = inferencer(given, **settings)
    assert len(results) == 1
    result = results[0]
    if 'frame' in kind:
        assert result.embedding.shape == (1, inferencer.spec.width)
        rows = {name: row[0] for name, row in result.named_features.items()}
        result = type(result)(result.name, rows, result.embedding[0])
    assert_same(result, expected)


@pytest.mark.parametrize('mode', ['1', 'L', 'LA', 'P', 'PA', 'RGBA', 'CMYK', 'YCbCr', 'I;16'])
def test_modes_of_pillow_are_converted_as_files_are(inferencer, pixels, tmp_path, mode):
    picture = Image.fromarray(pixels)
    if mode == 'I;16':
        picture = Image.fromarray(np.asarray(picture.convert('L')).astype(np.uint16) * 257)
    else:
        picture = picture.convert('RGBA').convert(mode) if mode == 'PA' else picture.convert(mode)
    path = tmp_path / ('a.tif' if mode in ('CMYK', 'YCbCr') else 'a.png')
    if mode == 'PA':
        picture = picture.convert('P')
    picture.save(path)
    assert_same(inferencer(picture)[0], inferencer(path)[0])


def test_gray_arrays_are_gray_files(inferencer, pixels, tmp_path):
    gray = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    Image.fromarray(gray).save(tmp_path / 'gray.png')
    expected = inferencer(tmp_path / 'gray.png')[0]
    for result in inferencer([gray, gray[..., None]]):
        assert_same(result, expected)


def test_orientation_in_exif_is_applied_and_the_image_left_alone(inferencer, pixels, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = tmp_path / 'turned.png'
    Image.fromarray(pixels).save(turned, exif=exif)
    with Image.open(turned) as picture:
        size = picture.size
        assert_same(inferencer(picture)[0], inferencer(turned)[0])
        assert picture.size == size


def test_one_many_and_mixed(inferencer, trained, pixels):
    files = sorted((trained[0] / 'query').glob('*.jpg'))[:6]
    alone = [inferencer(file)[0] for file in files]
    with Image.open(files[1]) as twice:
        mixed = inferencer([files[0], twice, read_image(str(files[2])), str(files[3]), twice])
    assert [result.name for result in mixed] == [
        str(files[0]),
        'image 1',
        'image 2',
        str(files[3]),
        'image 4',
    ]
    for result, position in zip(mixed, [0, 1, 2, 3, 1], strict=True):
        assert_same(result, alone[position])
    for given in (np.stack([pixels] * 3), (path for path in files[:3]), tuple(files[:3])):
        assert len(inferencer(given)) == 3
    assert inferencer([]) == []


def test_a_folder_is_its_images(inferencer, trained, tmp_path):
    folder = tmp_path / 'people'
    folder.mkdir()
    files = sorted((trained[0] / 'query').glob('*.jpg'))[:3]
    for file in files:
        shutil.copy(file, folder)
    (folder / 'notes.txt').write_text('no image')
    results = inferencer(folder)
    assert [Path(result.name).name for result in results] == [file.name for file in files]
    assert_same(results[2], inferencer(files[2])[0])


def test_frames_give_a_row_for_each_box(inferencer, trained):
    files = sorted((trained[0] / 'query').glob('*.jpg'))[:3]
    people = [read_image(str(file)) for file in files]
    height, width = people[0].shape[:2]
    frame = np.concatenate(people, axis=1)
    boxes = [[number * width, 0, (number + 1) * width, height] for number in range(3)]
    several, empty, single = inferencer([(frame, boxes), (frame, np.empty((0, 4))), files[0]])
    assert several.embedding.shape == (3, inferencer.spec.width)
    assert empty.embedding.shape == (0, inferencer.spec.width)
    assert {name: len(rows) for name, rows in empty.features.items()} == dict.fromkeys(FEATURES, 0)
    for number, file in enumerate(files):
        np.testing.assert_allclose(
            several.embedding[number], inferencer(file)[0].embedding, rtol=0, atol=1e-6
        )
    np.testing.assert_allclose(single.embedding, several.embedding[0], rtol=0, atol=1e-6)


def test_cameras_belong_to_inputs(trained, photo, pixels):
    told = ReIDInferencer(pretrained=trained[2], device='cpu', feature='transformer')
    for branch in told.model.branches.values():
        for name, value in branch.named_parameters():
            if 'side_information' in name or name.endswith('sie.weight'):
                torch.nn.init.normal_(value)
    height, width = pixels.shape[:2]
    frame = (pixels, [[0, 0, width, height]] * 2)
    one, two = told([photo, frame], camera_ids=[3, 1])
    np.testing.assert_allclose(
        one.embedding, told.extractor.extract([photo], [3])[0], rtol=0, atol=1e-6
    )
    for row in two.embedding:
        np.testing.assert_allclose(row, told.extractor.extract([photo], [1])[0], rtol=0, atol=1e-6)
    assert np.abs(one.embedding - two.embedding[0]).max() > 1e-5
    (same,) = told(photo, camera_ids=3)
    np.testing.assert_allclose(same.embedding, one.embedding, rtol=0, atol=1e-6)
    with pytest.raises(InferenceError, match='got 2 inputs but 3 camera_ids'):
        told([photo, frame], camera_ids=[1, 2, 3])
    with pytest.raises(InferenceError, match='is of camera 41'):
        told(photo, camera_ids=40)


@pytest.mark.slow
def test_features_are_those_that_are_scored(trained, tmp_path):
    data, config, checkpoint = trained
    run_command(
        'test',
        [str(config), str(checkpoint), '--work-dir', str(tmp_path), '--out', str(tmp_path / 'out')],
    )
    scored = FeatureSet.load(tmp_path / 'out')
    paths, cameras = scored.img_paths[::7], scored.camera_ids[::7].tolist()
    arrays = [read_image(path) for path in paths]
    inferencer = ReIDInferencer(config, checkpoint, device='cpu')
    for given in (paths, arrays, [Image.fromarray(array) for array in arrays]):
        results = inferencer(given, camera_ids=cameras)
        for name in FEATURES:
            expected = scored.select(name)[::7].numpy()
            features = np.stack([result.features[name] for result in results])
            scale = np.abs(expected).max()
            np.testing.assert_allclose(features, expected, rtol=0, atol=1e-6 * scale)


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        (None, r'image 0 is None: cv2.imread returns it'),
        ([np.zeros((4, 4, 3), np.uint8), None], 'image 1 is None'),
        (7, 'image 0 is int of shape'),
        (np.zeros((4, 4, 3), np.float32), 'image 0 is float32 of shape .* expected a path'),
        (np.zeros((3, 4, 5), np.uint8), r'uint8 of shape \(3, 4, 5\), expected a path'),
        (np.zeros((0, 4, 3), np.uint8), r'of shape \(0, 4, 3\)'),
        (torch.zeros(4, 4, 3, dtype=torch.uint8), 'image 0 is torch.uint8'),
        ([['a.jpg']], 'image 0 is list'),
        (Image.new('RGB', (0, 4)), r'a PIL image of mode RGB of shape \(0, 4\)'),
        ((np.zeros((9, 9, 3), np.uint8), [[2, 2, 2, 5]]), 'box 0 of image 0, .* has no pixel'),
        ((np.zeros((9, 9, 3), np.uint8), [[9, 0, 12, 5]]), r'\[9.0, 0.0, 12.0, 5.0\]'),
        ((np.zeros((9, 9, 3), np.uint8), [[0, 0, np.nan, 5]]), 'box 0'),
        ((None, [[0, 0, 4, 5]]), 'image 0 is None'),
    ],
)
def test_what_is_no_image_is_named(inferencer, given, message):
    with pytest.raises(InferenceError, match=message) as error:
        inferencer(given)
    assert '\n' not in str(error.value)


def test_what_cannot_be_decoded_says_so_and_the_others_are_there(inferencer, photo, tmp_path):
    good = photo
    cut = tmp_path / 'cut.jpg'
    cut.write_bytes(good.read_bytes()[: good.stat().st_size * 3 // 4])
    given = [good, cut, tmp_path / 'gone.jpg', Image.open(cut)]
    results = inferencer(given)
    assert [result.error is None for result in results] == [True, False, False, False]
    assert_same(results[0], inferencer(good)[0])
    for result, name in zip(results[1:], ('cut.jpg', 'gone.jpg', 'image 3 cannot'), strict=True):
        with pytest.raises(ImageDecodeError, match=name):
            _ = result.features
        assert result.embedding.size == 0
    kept, *others = inferencer(given, return_datasamples=True)
    assert isinstance(kept, ReIDDataSample)
    assert others == [None] * 3


@pytest.mark.parametrize(
    ('settings', 'error', 'message'),
    [
        (dict(), ConfigError, 'neither a checkpoint nor a config'),
        (dict(model='fusionreid_vitb_r50_msmt71'), ConfigError, 'close to it'),
        (dict(model='color_histogram_synthetic', precision='fp8'), ConfigError, 'precision must'),
        (dict(model='color_histogram_synthetic', device='tpu'), ConfigError, "device 'tpu'"),
        (dict(model='color_histogram_synthetic', batch_size=0), ConfigError, 'batch_size must'),
        (dict(model='color_histogram_synthetic', feature='x'), ConfigError, "feature 'x'"),
        (dict(model='color_histogram_synthetic', pretrained=True), ConfigError, 'pretrained=True'),
        (dict(model='r50_market1501'), WeightsError, 'name the checkpoint'),
        (dict(pretrained='gone.pth'), WeightsError, 'there is no such file'),
    ],
)
def test_models_that_cannot_be(settings, error, message):
    with pytest.raises(error, match=message):
        ReIDInferencer(**settings)


def test_bad_settings_of_a_call(inferencer, photo):
    with pytest.raises(InferenceError, match="channel_order must be one of .*'gbr'"):
        inferencer(photo, channel_order='gbr')
    with pytest.raises(ConfigError, match='batch_size must be at least 1, got 0'):
        inferencer(photo, batch_size=0)


@pytest.mark.parametrize('precision', ['fp16', 'bf16'])
def test_mixed_precision_stays_near(trained, inferencer, photo, precision):
    mixed = ReIDInferencer(pretrained=trained[2], device='cpu', precision=precision)
    (result,), (expected,) = mixed(photo), inferencer(photo)
    assert result.embedding.dtype == np.float32
    assert 1 - float(result.embedding @ expected.embedding) < 1e-3
    assert not np.array_equal(result.embedding, expected.embedding)


def test_comparing(trained, inferencer):
    files = sorted((trained[0] / 'query').glob('*.jpg'))
    first, second = files[0], files[-1]
    expected = np.linalg.norm(inferencer(first)[0].embedding - inferencer(second)[0].embedding)
    found = inferencer.compare(first, read_image(str(second)))
    assert found.distance == pytest.approx(expected, abs=1e-6)
    assert found.false_match_rate is None
    assert inferencer.compare(first, first).distance < 1e-6
    with pytest.raises(InferenceError, match='image 1 is None'):
        inferencer.compare(first, None)


@pytest.mark.slow
def test_a_comparison_is_calibrated_by_the_file_beside_the_checkpoint(
    trained, inferencer, tmp_path, monkeypatch
):
    data, _, checkpoint = trained
    photos = [str(path) for path in sorted((data / 'bounding_box_test').glob('0*.jpg'))]
    assert inferencer.compare(*photos[:2]).false_match_rate is None
    people = [int(Path(path).name[:4]) for path in photos]
    calibration = Calibration.fit(
        inferencer.extractor.extract(photos), people, spec=inferencer.spec
    )
    inferencer.calibration = calibration
    comparison = inferencer.compare(*photos[:2], camera_ids=(0, 1))
    assert comparison.false_match_rate == calibration.false_match_rate(comparison.distance)
    # Rates of two cameras that have names; the model does not know these.
    monkeypatch.setattr(inferencer.extractor.model, 'use_cameras', False)
    own_rates = replace(calibration.pairs, num_different=2)
    named = {(number_of('yard'), number_of('gate')): own_rates}
    inferencer.calibration = replace(calibration, camera_pairs=named)
    first = photos[0]
    there = inferencer.compare(first, first, camera_ids=('yard', 'gate'))
    back = inferencer.compare(first, first, camera_ids=('gate', 'yard'))
    assert there.false_match_rate.rate == 0.5
    assert back.false_match_rate.rate < 0.5
    inferencer.calibration = None
    own = tmp_path / checkpoint.name
    own.write_bytes(checkpoint.read_bytes())
    save_calibration(calibration, calibration_path(replace(inferencer.spec, checkpoint=str(own))))
    again = ReIDInferencer(pretrained=own, device='cpu')
    assert again.compare(*photos[:2]).false_match_rate.rate > 0
    with pytest.raises(CalibrationError, match='is of other features'):
        ReIDInferencer(pretrained=own, device='cpu', feature='cnn', calibration=calibration)
    assert ReIDInferencer(pretrained=own, device='cpu', feature='cnn').calibration is None


@pytest.mark.slow
def test_the_picture(inferencer, trained, tmp_path):
    files = sorted((trained[0] / 'query').glob('*.jpg'))[:5]
    inferencer([*files, (files[0], [[0, 0, 20, 40]])], out_dir=tmp_path / 'new')
    with Image.open(tmp_path / 'new' / 'distances.png') as picture:
        assert picture.width > 600
        assert np.asarray(picture.convert('L')).std() > 20


def test_progress(inferencer, photo, capsys):
    inferencer.show_progress = True
    try:
        inferencer([photo] * 5)
    finally:
        inferencer.show_progress = False
    assert 'inference: 5/5 (100%)' in capsys.readouterr().err


def test_it_is_an_inferencer_of_openmmlab(inferencer):
    assert isinstance(inferencer, BaseInferencer)
    assert fusionreid.ReIDInferencer is ReIDInferencer
    assert fusionreid.Gallery is Gallery
    with pytest.raises(AttributeError, match="no attribute 'Inferencer'"):
        _ = fusionreid.Inferencer


def test_a_gallery_takes_it(inferencer, trained):
    files = sorted(map(str, (trained[0] / 'query').glob('*.jpg')))[:4]
    gallery = Gallery(inferencer)
    gallery.add(files)
    with Image.open(files[2]) as picture:
        assert gallery.search(picture, 1).ids.tolist() == [[files[2]]]
