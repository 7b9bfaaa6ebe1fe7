"""From a folder of images to a picture of the answers, and what the benchmark prints."""

from __future__ import annotations

import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from image_trees import write_image
from mmengine.config import Config
from mmengine.registry import DefaultScope
from PIL import Image
from tiny_runs import render_tiny, write_tiny_config

from fusionreid.cli.main import run_command
from fusionreid.gallery import Gallery
from fusionreid.registry import MODELS
from fusionreid.visualization.rank_list import RIGHT_COLOR, WRONG_COLOR

HISTOGRAM = 'color_histogram_synthetic'
from fusionreid.cli import index as index_tool
from fusionreid.cli import search as search_tool


@pytest.fixture(scope='module')
def data(tmp_path_factory) -> Path:
    return render_tiny(tmp_path_factory.mktemp('data') / 'synthetic')


@pytest.fixture(scope='module')
def checkpoint(data, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('checkpoint')
    cfg = Config.fromfile(write_tiny_config(folder, data))
    with DefaultScope.overwrite_default_scope('fusionreid'):
        model = MODELS.build(cfg.model)
    path = folder / 'epoch_2.pth'
    torch.save(dict(meta=dict(cfg=cfg.pretty_text), state_dict=model.state_dict()), path)
    return path


@pytest.fixture(scope='module')
def index(data, tmp_path_factory) -> Path:
    """The gallery's images by their colors, which finds people that are rendered."""
    out = tmp_path_factory.mktemp('index') / 'index'
    run_command('index', [str(data / 'bounding_box_test'), '-o', str(out), '--config', HISTOGRAM])
    return out


def search(index: Path, *arguments: object) -> None:
    run_command('search', [str(index), *map(str, arguments)])


def fails(capsys: pytest.CaptureFixture, tool, *arguments: object) -> str:
    """Run a tool that fails; returns its one line."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        tool.main([str(argument) for argument in arguments])
    message = str(stop.value)
    assert message.startswith('error: ') and '\n' not in message
    return message


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if re.match(r' *\d+ ', line)]


def test_a_folder_that_cannot_hold_an_index_is_refused_before_any_work(data, tmp_path, capsys):
    (tmp_path / 'taken').mkdir()
    (tmp_path / 'taken' / 'mine.txt').touch()
    (tmp_path / 'file').touch()
    for out, message in (('taken', 'no index and not empty'), ('file', 'is a file')):
        arguments = (data / 'query', '-o', tmp_path / out, '--config', HISTOGRAM)
        assert message in fails(capsys, index_tool, *arguments)
        assert 'images' not in capsys.readouterr().out  # nothing was begun


def test_the_right_people_are_found_and_drawn(data, index, tmp_path, capsys):
    queries = sorted((data / 'query').glob('*.jpg'))[:6]
    out = tmp_path / 'pictures' / 'result.png'
    search(index, *queries, '-k', 3, '--other-cameras', '-o', out)
    printed = capsys.readouterr().out
    blocks = printed.split('query ')[1:]
    assert len(blocks) == 6
    right = 0
    for query, block in zip(queries, blocks, strict=True):
        person, camera = query.name.split('_c')[0], query.name.split('_c')[1][0]
        answers = rows(block)
        assert [row[0] for row in answers] == ['1', '2', '3']
        assert camera not in [row[2] for row in answers]
        assert [float(row[1]) for row in answers] == sorted(float(row[1]) for row in answers)
        right += answers[0][3] == str(int(person))
    assert right >= 4
    picture = np.array(Image.open(out))
    first = rows(blocks[0])[0]
    color = RIGHT_COLOR if first[3] == str(int(queries[0].name[:4])) else WRONG_COLOR
    assert (picture == color).all(axis=2).sum() > 1000


def test_a_trained_model_is_indexed_and_the_index_brought_up_to_date(
    data, checkpoint, tmp_path, capsys
):
    folder = tmp_path / 'images'
    names = sorted(path.name for path in (data / 'bounding_box_test').glob('*.jpg'))[:8]
    for name in names:
        (folder / 'deep').mkdir(parents=True, exist_ok=True)
        (folder / 'deep' / name).write_bytes((data / 'bounding_box_test' / name).read_bytes())
    out = tmp_path / 'index'
    arguments = [str(folder), str(checkpoint), '-o', str(out), '--feature', 'cnn_fused']
    run_command('index', arguments)
    printed = capsys.readouterr().out
    assert 'identity and camera read from 8 of 8 file names' in printed
    assert '8 images, engine exact, cnn_fused' in printed and 'epoch_2.pth' in printed

    write_image(folder / 'someone.png', 3)
    (folder / 'broken.jpg').write_bytes(b'not an image')
    with pytest.raises(SystemExit, match='error: 1 images, named above, could not be indexed'):
        run_command('index', arguments)
    captured = capsys.readouterr()
    assert 'broken.jpg' in captured.err and '10 images, 2 of them new' in captured.out
    assert 'read from 0 of 2 file names; unknown for the others' in captured.out
    gallery = Gallery.load(out)
    assert len(gallery) == 9
    found = gallery.search(str(folder / 'someone.png'), 1)
    assert found.ids.tolist() == [[str(folder / 'someone.png')]]
    assert found.camera_ids.tolist() == found.person_ids.tolist() == [[-1]]

    message = fails(capsys, index_tool, *arguments[:-1], 'cnn')
    assert 'features of another model or protocol' in message or 'the model gives width' in message
    message = fails(capsys, index_tool, *arguments, '--engine', 'faiss_flat')
    assert "has the engine {'type': 'exact'}" in message
    message = fails(capsys, index_tool, *arguments, '--mean-camera')
    assert 'SIE on (6 cameras)' in message and 'SIE on (mean camera)' in message
    # The query is in the index itself, and what has no identity is drawn without a verdict.
    search(out, folder / 'someone.png', '-k', 3, '-o', tmp_path / 'a.png')
    printed = capsys.readouterr().out
    assert 'camera ?, identity ?' in printed and len(rows(printed)) == 3
    picture = np.array(Image.open(tmp_path / 'a.png'))
    for color in (RIGHT_COLOR, WRONG_COLOR):
        assert (picture == color).all(axis=2).sum() < 100


def test_filters_and_folders_of_queries(data, index, tmp_path, capsys):
    query = min((data / 'query').glob('*.jpg'))
    search(index, query, '-k', 20, '--camera', 2, 5)
    assert {row[2] for row in rows(capsys.readouterr().out)} <= {'2', '5'}
    search(index, query, '-k', 20, '--exclude-camera', 1, 2)
    assert not {row[2] for row in rows(capsys.readouterr().out)} & {'1', '2'}
    search(index, query, '--camera', 99, '-o', tmp_path / 'none.png')
    assert 'no image passes the filters' in capsys.readouterr().out
    assert Image.open(tmp_path / 'none.png').size[0] > 300
    search(index, data / 'query', '-k', 1)
    printed = capsys.readouterr().out
    assert printed.count('query ') == len(list((data / 'query').glob('*.jpg')))


def test_answers_that_are_gone_are_drawn_gray(data, tmp_path, capsys):
    folder = tmp_path / 'images'
    for number in range(3):
        write_image(folder / f'{number}.jpg', number)
    run_command('index', [str(folder), '-o', str(tmp_path / 'index'), '--config', HISTOGRAM])
    (folder / '1.jpg').unlink()
    search(tmp_path / 'index', folder / '0.jpg', '-o', tmp_path / 'a.png')
    assert (tmp_path / 'a.png').exists() and '1.jpg' in capsys.readouterr().out


def test_what_users_get_wrong_is_one_line(data, index, checkpoint, tmp_path, capsys):
    query = min((data / 'query').glob('*.jpg'))
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
        assert expected in fails(capsys, index_tool, *arguments)
    for expected, arguments in {
        'is no index': [tmp_path, query],
        '-k 100000 is outside 1..': [index, query, '-k', 100_000],
        'does not exist': [index, 'nothing.jpg'],
        'cameras are counted from 1, got 0': [index, query, '--camera', 0],
        'cannot be drawn': [index, query, '-k', 1, '-o', tmp_path / 'a.unknown'],
    }.items():
        assert expected in fails(capsys, search_tool, *arguments)
    message = fails(capsys, search_tool, index, query, '--query-camera', 0)
    assert 'cameras are counted from 1, got 0' in message
    nameless = write_image(tmp_path / 'someone.jpg')
    message = fails(capsys, search_tool, index, nameless, '--other-cameras')
    assert 'give it by --query-camera' in message
    search(index, nameless, '--other-cameras', '--query-camera', 2, '-k', 3)
    assert 'camera 2' in capsys.readouterr().out


def test_a_camera_that_the_model_does_not_know(data, checkpoint, tmp_path, capsys):
    index = tmp_path / 'index'
    arguments = [data / 'query', checkpoint, '-o', index, '--feature', 'transformer']
    run_command('index', list(map(str, arguments)))
    nameless = write_image(tmp_path / 'someone.jpg')
    message = fails(capsys, search_tool, index, nameless, '--query-camera', 9)
    assert 'someone.jpg is of camera 9' in message and 'cameras 1 to 6' in message
    assert '--mean-camera' in message
    search(index, nameless, '--query-camera', 9, '--other-cameras', '--mean-camera', '-k', 2)
    printed = capsys.readouterr().out
    assert 'camera 9' in printed and len(rows(printed)) == 2
    # The same for images: what is said works.
    (tmp_path / 'images').mkdir()
    (tmp_path / 'images' / '0001_c9s1_000451_03.jpg').write_bytes(nameless.read_bytes())
    arguments = [tmp_path / 'images', checkpoint, '-o', tmp_path / 'other']
    message = fails(capsys, index_tool, *arguments)
    assert 'camera 9, counted from 1' in message and '--mean-camera' in message
    run_command('index', [*map(str, arguments), '--mean-camera'])


def test_a_query_is_no_answer_to_itself_however_it_is_written(data, index, monkeypatch, capsys):
    images = data / 'bounding_box_test'
    image = min(images.glob('0*.jpg'))
    monkeypatch.chdir(images)
    for name in (
        image,
        image.name,
        f'../query/../bounding_box_test/{image.name}',
        f'./{image.name}',
    ):
        search(index, name, '-k', 3)
        answers = [row[-1] for row in rows(capsys.readouterr().out)]
        assert len(answers) == 3 and image.name not in map(os.path.basename, answers)


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
        run_command(
            'index', [*map(str, arguments), '--engine', engine, '--engine-options', *options]
        )
    assert message in f'{stop.value}\n{capsys.readouterr().err}'
    assert not (tmp_path / 'index').exists()


def test_an_index_that_another_run_has_saved_meanwhile_is_kept(data, tmp_path, monkeypatch, capsys):
    first, second = tmp_path / 'first', tmp_path / 'second'
    for folder, number in ((first, 0), (second, 1)):
        write_image(folder / f'{number}.jpg', number)
    options = ['-o', str(tmp_path / 'index'), '--config', HISTOGRAM]
    honest = Gallery.add

    def overtaken(self, *arguments, **settings):
        monkeypatch.undo()
        run_command('index', [str(first), *options])
        return honest(self, *arguments, **settings)

    monkeypatch.setattr(Gallery, 'add', overtaken)
    message = fails(capsys, index_tool, second, *options)
    assert 'saved again meanwhile' in message and 'run again' in message
    run_command('index', [str(second), *options])
    gallery = Gallery.load(tmp_path / 'index')
    assert len(gallery) == 2 and str(first / '0.jpg') in gallery


def test_a_model_that_gives_nan_stops_in_one_line(data, tmp_path, monkeypatch, capsys):
    folder = tmp_path / 'images'
    for number in range(4):
        write_image(folder / f'{number}.jpg', number)
    honest = index_tool.FeatureExtractor._run

    def diverged(self, samples):
        features = honest(self, samples)
        return features * (torch.nan if str(folder / '2.jpg') in samples_of(samples) else 1)

    def samples_of(samples):
        return [sample['data_samples'].img_path for sample in samples]

    monkeypatch.setattr(index_tool.FeatureExtractor, '_run', diverged)
    arguments = [folder, '-o', tmp_path / 'index', '--config', HISTOGRAM, '--batch-size', 2]
    message = fails(capsys, index_tool, *arguments)
    assert '2.jpg is zero, or holds a NaN' in message
    assert len(Gallery.load(tmp_path / 'index')) == 2


def test_an_interrupt_keeps_what_was_computed(data, tmp_path, monkeypatch, capsys):
    folder = tmp_path / 'images'
    for number in range(6):
        write_image(folder / f'{number}.jpg', number)
    arguments = [str(folder), '-o', str(tmp_path / 'index'), '--config', HISTOGRAM]
    extractor = index_tool.FeatureExtractor
    calls = 0
    honest = extractor._run

    def interrupted(self, samples):
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return honest(self, samples)

    with monkeypatch.context() as patch:
        patch.setattr(extractor, '_run', interrupted)
        with pytest.raises(SystemExit) as stop:
            run_command('index', [*arguments, '--batch-size', '2'])
    assert stop.value.code == 130
    assert '4 images are in' in capsys.readouterr().out
    run_command('index', arguments)
    assert '6 images, 2 of them new' in capsys.readouterr().out
    assert len(Gallery.load(tmp_path / 'index')) == 6


def test_benchmark_prints_one_json_line_for_each_engine_and_size(monkeypatch, capsys):
    from fusionreid.cli.benchmarks import gallery as benchmark

    # In this process: to start others takes seconds.
    monkeypatch.setattr(
        benchmark, 'ProcessPoolExecutor', lambda workers, mp_context: ThreadPoolExecutor(workers)
    )
    arguments = ['--dim', '32', '--queries', '20', '--single', '2', '--recall-queries', '30']
    benchmark.main([*arguments, '--sizes', '300', '600', '--engines', 'exact', 'faiss_flat'])
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    measured = [(record['size'], record['engine']) for record in records]
    assert measured == [(size, engine) for size in (300, 600) for engine in ('exact', 'faiss_flat')]
    for record in records:
        assert record['recall_at_10'] == 1 and record['dim'] == 32
        assert record['queries_per_second'] > 0 and record['index_bytes'] > 1000


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--single', '0'], 'must be at least 1, got 0'),
        (['--queries', '-3'], 'must be at least 1, got -3'),
        (['--recall-queries', '0'], 'must be at least 1, got 0'),
        (['--sizes', '10'], '--sizes must be more than 10'),
        (['--engine-options', 'probes'], 'is not of the form'),
    ],
)
def test_benchmark_checks_its_arguments(arguments, message, capsys):
    with pytest.raises(SystemExit):
        run_command('benchmark gallery', arguments)
    assert message in capsys.readouterr().err


def test_benchmark_vectors_are_clustered_and_seeded():
    from fusionreid.cli.benchmarks import gallery as benchmark

    part = benchmark.make_part(0, 1000, 48, seed=0, noise_seed=1)
    again = benchmark.make_part(0, 1000, 48, seed=0, noise_seed=1)
    assert torch.equal(part, again)
    people = part.view(2, 500, 48)
    same = (people[0] - people[1]).norm(dim=1).mean()
    others = (people[0] - people[1].roll(1, 0)).norm(dim=1).mean()
    assert same < 0.7 * others
    parts = list(benchmark.make_gallery_parts(12_000, 8, seed=0))
    assert [len(part) for part in parts] == [10_000, 2_000]
    assert not torch.equal(parts[0][:2000], parts[1])
