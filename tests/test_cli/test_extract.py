"""``fusionreid extract``: the features of a folder as one file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from full_disk import full_disk
from gallery_commands import HISTOGRAM, call, failure
from image_trees import write_image
from safetensors import safe_open

from fusionreid.apis import FeatureExtractor
from fusionreid.gallery import Gallery


def read(path: Path) -> tuple[dict[str, torch.Tensor], list[str], str]:
    """Tensors, paths and label of a file."""
    with safe_open(path, framework='pt') as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    return tensors, json.loads(metadata['paths']), metadata['label']


@pytest.mark.parametrize('options', [[], ['--mean-camera']])
def test_the_features_of_a_folder(options, data, checkpoint, tmp_path, capsys):
    out = tmp_path / 'deep' / 'features.safetensors'
    call('extract', data / 'query', checkpoint, '-o', out, '--feature', 'transformer', *options)
    tensors, paths, label = read(out)
    assert paths == sorted(map(str, (data / 'query').glob('*.jpg')))
    assert f'{len(paths)} of {len(paths)} images, {label}' in capsys.readouterr().out
    assert 'transformer' in label
    assert 'epoch_2.pth' in label
    assert ('mean camera' in label) == bool(options)
    names = [Path(path).name for path in paths]
    assert tensors['person_ids'].tolist() == [int(name[:4]) for name in names]
    cameras = [int(name.split('_c')[1][0]) - 1 for name in names]
    assert tensors['camera_ids'].tolist() == cameras
    assert tensors['camera_ids'].dtype == tensors['person_ids'].dtype == torch.int64
    extractor = FeatureExtractor(checkpoint, feature='transformer')
    expected = extractor.extract(paths, None if options else cameras)
    torch.testing.assert_close(tensors['features'], expected)
    assert list(out.parent.iterdir()) == [out]


def test_bfloat16_gives_nearly_the_same_features(data, checkpoint, tmp_path):
    found = []
    for precision in ('fp32', 'bf16'):
        out = tmp_path / f'{precision}.safetensors'
        call('extract', data / 'query', checkpoint, '-o', out, '--precision', precision)
        found.append(read(out)[0]['features'])
    assert not torch.equal(*found)
    assert torch.cosine_similarity(*found).min() > 0.999


def test_what_is_saved_fills_a_gallery(data, tmp_path):
    out = tmp_path / 'features.safetensors'
    call('extract', data / 'query', '-o', out, '--config', HISTOGRAM, '--batch-size', 5)
    tensors, paths, _ = read(out)
    gallery = Gallery()
    gallery.add(paths=paths, **tensors)
    assert gallery.search(tensors['features'], 1).paths[:, 0].tolist() == paths


def test_images_that_cannot_be_decoded_are_named_and_the_others_saved(tmp_path, capsys):
    images, out = tmp_path / 'images', tmp_path / 'features.safetensors'
    for number in range(3):
        write_image(images / f'0007_c{number + 1}s1.jpg', number)
    (images / '0001_c9s1.jpg').write_bytes(b'not an image')
    message = failure('extract', images, '-o', out, '--config', HISTOGRAM, '--batch-size', 2)
    assert '1 images, named above, could not be decoded' in message
    captured = capsys.readouterr()
    assert '0001_c9s1.jpg' in captured.err
    assert '3 of 4 images' in captured.out
    tensors, paths, _ = read(out)
    assert [Path(path).name for path in paths] == [f'0007_c{number}s1.jpg' for number in (1, 2, 3)]
    assert tensors['camera_ids'].tolist() == [0, 1, 2]
    assert tensors['features'].shape[0] == 3


def test_a_folder_without_an_image_that_can_be_decoded(tmp_path, capsys):
    images, out = tmp_path / 'images', tmp_path / 'features.safetensors'
    images.mkdir()
    for number in range(2):
        (images / f'{number}.jpg').write_bytes(b'not an image')
    out.write_bytes(b'from before')
    message = failure('extract', images, '-o', out, '--config', HISTOGRAM)
    assert 'none of the 2 images, named above, could be decoded' in message
    error = capsys.readouterr().err
    assert '0.jpg' in error
    assert '1.jpg' in error
    assert out.read_bytes() == b'from before'


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('features.npy', 'give it a name that ends in .safetensors'),
        ('taken.safetensors', 'is a folder: name a file to write'),
        ('file/features.safetensors', 'cannot be written: '),
    ],
)
def test_a_target_that_cannot_be_written_is_refused_before_any_work(
    name, message, data, tmp_path, monkeypatch
):
    (tmp_path / 'taken.safetensors').mkdir()
    (tmp_path / 'file').touch()
    before = sorted(tmp_path.rglob('*'))

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError('a model was loaded')

    monkeypatch.setattr('fusionreid.cli.extract.build_extractor', refuse)
    assert message in failure('extract', data / 'query', '-o', tmp_path / name)
    assert sorted(tmp_path.rglob('*')) == before


def test_a_full_disk_is_one_line_and_keeps_the_file_of_before(data, checkpoint, tmp_path):
    out = tmp_path / 'features.safetensors'
    out.write_bytes(b'from before')
    with full_disk(1000):
        message = failure('extract', data / 'query', checkpoint, '-o', out)
    assert 'features.safetensors cannot be written: ' in message
    assert out.read_bytes() == b'from before'
    assert list(tmp_path.iterdir()) == [out]


def test_what_users_get_wrong_is_one_line(data, checkpoint, tmp_path):
    out = ['-o', tmp_path / 'features.safetensors']
    (tmp_path / 'empty').mkdir()
    for expected, arguments in {
        'there is no folder': ['nowhere', checkpoint],
        'there is no image in': [tmp_path / 'empty', checkpoint],
        'there is no such file': [data / 'query', 'nothing.pth'],
        "feature 'nose' is unknown": [data / 'query', checkpoint, '--feature', 'nose'],
        'neither a checkpoint nor a config': [data / 'query'],
        'batch_size must be at least 1': [data / 'query', checkpoint, '--batch-size', 0],
        "device 'gpu' is unknown": [data / 'query', checkpoint, '--device', 'gpu'],
    }.items():
        assert expected in failure('extract', *arguments, *out)
    write_image(tmp_path / 'images' / '0001_c9s1_000451_03.jpg')
    message = failure('extract', tmp_path / 'images', checkpoint, *out)
    assert 'camera 9, counted from 1' in message
    assert '--mean-camera' in message
    assert not (tmp_path / 'features.safetensors').exists()
