"""``fusionreid index``: from a folder of images to an index, and what is new added to it."""

from __future__ import annotations

import pytest
import torch
from gallery_commands import HISTOGRAM, call, failure
from image_trees import write_image

from fusionreid.apis import FeatureExtractor
from fusionreid.cli.main import run_command
from fusionreid.gallery import Gallery


def test_a_folder_that_cannot_hold_an_index_is_refused_before_any_work(data, tmp_path, capsys):
    (tmp_path / 'taken').mkdir()
    (tmp_path / 'taken' / 'mine.txt').touch()
    (tmp_path / 'file').touch()
    for out, message in (('taken', 'no index and not empty'), ('file', 'is a file')):
        arguments = (data / 'query', '-o', tmp_path / out, '--config', HISTOGRAM)
        assert message in failure('index', *arguments)
        assert 'images' not in capsys.readouterr().out  # nothing was begun


def test_a_trained_model_is_indexed_and_the_index_brought_up_to_date(
    data, checkpoint, tmp_path, capsys
):
    folder = tmp_path / 'images'
    names = sorted(path.name for path in (data / 'bounding_box_test').glob('*.jpg'))[:8]
    for name in names:
        (folder / 'deep').mkdir(parents=True, exist_ok=True)
        (folder / 'deep' / name).write_bytes((data / 'bounding_box_test' / name).read_bytes())
    out = tmp_path / 'index'
    arguments = [folder, checkpoint, '-o', out, '--feature', 'cnn_fused']
    call('index', *arguments)
    printed = capsys.readouterr().out
    assert 'identity and camera read from 8 of 8 file names' in printed
    assert '8 images, engine exact, cnn_fused' in printed
    assert 'epoch_2.pth' in printed

    write_image(folder / 'someone.png', 3)
    (folder / 'broken.jpg').write_bytes(b'not an image')
    message = failure('index', *arguments)
    assert message == 'error: 1 images, named above, could not be indexed'
    captured = capsys.readouterr()
    assert 'broken.jpg' in captured.err
    assert '10 images, 2 of them new' in captured.out
    assert 'read from 0 of 2 file names; unknown for the others' in captured.out
    gallery = Gallery.load(out)
    assert len(gallery) == 9
    found = gallery.search(str(folder / 'someone.png'), 1)
    assert found.ids.tolist() == [[str(folder / 'someone.png')]]
    assert found.camera_ids.tolist() == found.person_ids.tolist() == [[-1]]

    message = failure('index', *arguments[:-1], 'cnn')
    assert 'features of another model or protocol' in message or 'the model gives width' in message
    message = failure('index', *arguments, '--engine', 'faiss_flat')
    assert "has the engine {'type': 'exact'}" in message
    message = failure('index', *arguments, '--mean-camera')
    assert 'SIE on (6 cameras)' in message
    assert 'SIE on (mean camera)' in message


def test_what_users_get_wrong_is_one_line(data, checkpoint, tmp_path):
    index = tmp_path / 'index'
    call('index', data / 'query', '-o', index, '--config', HISTOGRAM)
    (tmp_path / 'empty').mkdir()
    for expected, arguments in {
        'there is no folder': ['nowhere', checkpoint, '-o', tmp_path / 'a'],
        'there is no image in': [tmp_path / 'empty', checkpoint, '-o', tmp_path / 'a'],
        'there is no such file': [data / 'query', 'nothing.pth', '-o', tmp_path / 'a'],
        "feature 'nose' is unknown": [
            *(data / 'query', checkpoint, '-o', tmp_path / 'a', '--feature', 'nose')
        ],
        'neither a checkpoint nor a config': [data / 'query', '-o', tmp_path / 'a'],
        'batch_size must be at least 1': [
            *(data / 'query', checkpoint, '-o', tmp_path / 'a', '--batch-size', 0)
        ],
        'the gallery holds features of width': [data / 'query', checkpoint, '-o', index],
    }.items():
        assert expected in failure('index', *arguments)


def test_a_camera_that_the_model_does_not_know(checkpoint, tmp_path):
    write_image(tmp_path / 'images' / '0001_c9s1_000451_03.jpg')
    arguments = [tmp_path / 'images', checkpoint, '-o', tmp_path / 'other']
    message = failure('index', *arguments)
    assert 'camera 9, counted from 1' in message
    assert '--mean-camera' in message
    # What is said works.
    call('index', *arguments, '--mean-camera')
    assert len(Gallery.load(tmp_path / 'other')) == 1


@pytest.mark.parametrize(
    ('engine', 'options', 'message'),
    [
        ('faiss_ivfpq', ['type=milvus'], 'the engine itself is chosen by another option'),
        ('faiss_ivfpq', ['probes'], "'probes' is not of the form KEY=VALUE"),
        ('faiss_ivfpq', ['=3'], "'=3' is not of the form"),
        ('faiss_ivfpq', ['lists=[(3,4]'], 'brackets'),
        ('faiss_ivfpq', ['probes=abc'], "probes of faiss_ivfpq must be of type int, got 'abc'"),
        ('faiss_ivfpq', ['probes=64.5'], 'must be of type int, got 64.5'),
        ('milvus', ['uri=5'], 'uri of milvus must be of type str, got 5'),
    ],
)
def test_engine_options_that_are_none(engine, options, message, data, tmp_path, capsys):
    arguments = [data / 'query', '-o', tmp_path / 'index', '--config', HISTOGRAM]
    with pytest.raises(SystemExit) as stop:
        call('index', *arguments, '--engine', engine, '--engine-options', *options)
    assert message in f'{stop.value}\n{capsys.readouterr().err}'
    assert not (tmp_path / 'index').exists()


def test_an_index_that_another_run_has_saved_meanwhile_is_kept(data, tmp_path, monkeypatch, capsys):
    first, second = tmp_path / 'first', tmp_path / 'second'
    for folder, number in ((first, 0), (second, 1)):
        write_image(folder / f'{number}.jpg', number)
    options = ['-o', tmp_path / 'index', '--config', HISTOGRAM]
    honest = Gallery.add

    def overtaken(self, *arguments, **settings):
        monkeypatch.undo()
        call('index', first, *options)
        return honest(self, *arguments, **settings)

    monkeypatch.setattr(Gallery, 'add', overtaken)
    message = failure('index', second, *options)
    assert 'saved again meanwhile' in message
    assert 'run again' in message
    call('index', second, *options)
    gallery = Gallery.load(tmp_path / 'index')
    assert len(gallery) == 2
    assert str(first / '0.jpg') in gallery


def test_a_model_that_gives_nan_stops_in_one_line(data, tmp_path, monkeypatch, capsys):
    folder = tmp_path / 'images'
    for number in range(4):
        write_image(folder / f'{number}.jpg', number)
    honest = FeatureExtractor._columns

    def diverged(self, samples):
        features = honest(self, samples)
        paths = [sample.img_path for sample in samples]
        return features * (torch.nan if str(folder / '2.jpg') in paths else 1)

    monkeypatch.setattr(FeatureExtractor, '_columns', diverged)
    arguments = [folder, '-o', tmp_path / 'index', '--config', HISTOGRAM, '--batch-size', 2]
    message = failure('index', *arguments)
    assert '2.jpg holds a NaN' in message
    assert len(Gallery.load(tmp_path / 'index')) == 2


def test_an_interrupt_keeps_what_was_computed(data, tmp_path, monkeypatch, capsys):
    folder = tmp_path / 'images'
    for number in range(6):
        write_image(folder / f'{number}.jpg', number)
    arguments = [folder, '-o', tmp_path / 'index', '--config', HISTOGRAM]
    calls = 0
    honest = FeatureExtractor.predict

    def interrupted(self, *args):
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return honest(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(FeatureExtractor, 'predict', interrupted)
        status = run_command('index', [*map(str, arguments), '--batch-size', '2'])
    assert status == 130
    assert '4 images are in' in capsys.readouterr().out
    call('index', *arguments)
    assert '6 images, 2 of them new' in capsys.readouterr().out
    assert len(Gallery.load(tmp_path / 'index')) == 6
