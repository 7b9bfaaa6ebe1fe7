"""``fusionreid calibrate``, and a search that answers nobody."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from gallery_commands import HISTOGRAM, call, failure, table_rows, write_checkpoint
from image_trees import write_image
from PIL import Image
from tiny_runs import parse_command, write_tiny_config

from fusionreid.apis import load_calibration
from fusionreid.gallery import Gallery


@pytest.fixture(scope='module')
def run(data, checkpoint, tmp_path_factory) -> tuple[Path, Path]:
    """A checkpoint, and its features of the test set."""
    folder = tmp_path_factory.mktemp('run')
    own = Path(shutil.copy(checkpoint, folder / 'epoch_2.pth'))
    config = write_tiny_config(folder, data)
    call('test', config, own, '--out', folder / 'test', '--work-dir', folder / 'work')
    return own, folder / 'test'


@pytest.mark.slow
def test_a_calibration_goes_from_a_test_set_by_the_checkpoint_into_an_index(
    data, run, tmp_path, capsys
):
    checkpoint, saved = run
    call('calibrate', saved, checkpoint)
    printed = capsys.readouterr().out
    path = Path(f'{checkpoint}.all.calibration.json')
    assert f'calibration: {path}' in printed
    assert 'too few pairs' in printed
    calibration = load_calibration(path)
    assert f'{calibration.pairs.num_different:,} pairs of' in printed
    index = tmp_path / 'index'
    call('index', data / 'bounding_box_test', checkpoint, '-o', index)
    assert Gallery.load(index).calibration.describe() == calibration.describe()
    path.unlink()
    query = min((data / 'query').glob('*.jpg'))
    capsys.readouterr()
    call('search', index, query, '-k', 3, '--max-fpr', 0.5, '--json', tmp_path / 'a.json')
    printed = capsys.readouterr().out
    assert 'answers are nearer than' in printed
    assert 'of the searches for a stranger in' in printed
    content = json.loads((tmp_path / 'a.json').read_text())
    (answers,) = content['queries']
    assert not answers['nobody']
    for answer, row in zip(answers['answers'], table_rows(printed), strict=True):
        assert f'{answer["distance"]:.4f}' == row[1]
        low, high = answer['false_match_rate_95']
        assert low <= answer['false_match_rate'] <= min(high, 0.5)


def test_nobody_in_the_table_the_picture_and_the_json(data, tmp_path, capsys):
    index = tmp_path / 'index'
    call('index', data / 'bounding_box_test', '-o', index, '--config', HISTOGRAM)
    query = min((data / 'query').glob('*.jpg'))
    capsys.readouterr()
    out, answers = tmp_path / 'a.png', tmp_path / 'a.json'
    call('search', index, query, '--max-distance', 1e-6, '-o', out, '--json', answers)
    printed = capsys.readouterr().out
    assert 'nobody: no image is nearer than 0.0000, the nearest is at ' in printed
    assert table_rows(printed) == []
    (found,) = json.loads(answers.read_text())['queries']
    assert (found['nobody'], found['answers']) == (True, [])
    assert found['nearest'] > found['nearer_than'] == 1e-6
    with Image.open(out) as picture:
        assert picture.width > 300
    call('search', index, query, '--camera', 99, '--max-distance', 1, '--json', answers)
    (found,) = json.loads(answers.read_text())['queries']
    assert (found['nobody'], found['nearest']) == (False, None)
    call('search', index, query, '-k', 1, '--max-distance', 'inf', '--json', answers)
    (found,) = json.loads(answers.read_text())['queries']
    assert (found['nearer_than'], len(found['answers'])) == (None, 1)


def test_an_index_calibrates_itself(data, tmp_path, capsys):
    index = tmp_path / 'index'
    call('index', data / 'bounding_box_test', '-o', index, '--config', HISTOGRAM)
    query = min((data / 'query').glob('*.jpg'))
    assert 'max_fpr needs a calibration' in failure('search', index, query, '--max-fpr', 0.1)
    capsys.readouterr()
    call('calibrate', index, '-o', tmp_path / 'a.calibration.json')
    assert f'calibration: in the index {index}' in capsys.readouterr().out
    call('search', index, query, '--max-search-fpr', 0.5)
    assert 'answers are nearer than' in capsys.readouterr().out
    other = tmp_path / 'other'
    call('index', data / 'query', '-o', other, '--config', HISTOGRAM)
    call('search', other, query, '--max-fpr', 0.1, '--calibration', tmp_path / 'a.calibration.json')
    message = failure(
        'search', other, query, '--max-fpr', 1e-9, '--calibration', tmp_path / 'a.calibration.json'
    )
    assert 'cannot be told from' in message


@pytest.mark.slow
def test_cameras_that_a_table_names_have_rates_of_their_own(data, tmp_path, monkeypatch):
    # A few photos have few pairs.
    for name in ('LEAST_DIFFERENT', 'LEAST_SAME', 'LEAST_PEOPLE'):
        monkeypatch.setattr(f'fusionreid.apis.calibration.{name}', 1)
    names = ['yard', 'Hof – Süd', 'gate', 'roof', 'stairs', 'attic']
    rows = ['path,person_id,camera_id,role']
    for role, folder in (('query', 'query'), ('gallery', 'bounding_box_test')):
        for path in sorted((data / folder).glob('0*.jpg')):
            rows.append(f'{path},{path.name[:4]},{names[int(path.name[6]) - 1]},{role}')
    table = tmp_path / 'people.csv'
    table.write_text('\n'.join(rows), encoding='utf-8')
    config = write_tiny_config(
        tmp_path,
        data,
        'color_histogram_synthetic',
        f"test_dataloader['dataset'].update(type='CsvDataset', ann_file={str(table)!r})",
    )
    saved, index, file = tmp_path / 'saved', tmp_path / 'index', tmp_path / 'c.json'
    call('test', config, '--out', saved, '--work-dir', tmp_path / 'work')
    call('calibrate', saved, '--config', config, '-o', file)
    call('index', table, '-o', index, '--config', config, '--role', 'gallery')
    pairs = load_calibration(file).camera_pairs
    assert len(pairs) > 2
    cameras = Gallery.load(index).camera_names
    assert {camera for pair in pairs for camera in pair} == set(cameras)
    # The rate of an answer is that of its two cameras.
    answers = tmp_path / 'answers.json'
    call(
        'search', index, table, '--role', 'query', '--other-cameras', '-k', 1,
        '--calibration', file, '--json', answers,
    )  # fmt: skip
    number = {name: camera for camera, name in cameras.items()}
    for query in json.loads(answers.read_text())['queries']:
        (answer,) = query['answers']
        own = pairs[number[query['camera']], number[answer['camera']]]
        place = int(torch.searchsorted(own.distances, answer['distance']))
        rate = 1.0 if place == len(own.distances) else float(own.false_match_rates[place])
        assert answer['false_match_rate'] == pytest.approx(max(rate, 1 / own.num_different))


@pytest.mark.slow
def test_extracted_features_are_calibrated_and_serve_as_a_cohort(data, run, tmp_path, capsys):
    checkpoint, _ = run
    features, index = tmp_path / 'train.safetensors', tmp_path / 'index'
    call('extract', data / 'bounding_box_train', checkpoint, '-o', features)
    call('calibrate', features, checkpoint, '-o', tmp_path / 'c.json')
    assert load_calibration(tmp_path / 'c.json').data == str(features)
    call('index', data / 'bounding_box_test', checkpoint, '-o', index)
    query = min((data / 'query').glob('*.jpg'))
    capsys.readouterr()
    call('search', index, query, '-k', 2, '--cohort', features, '--center-cameras')
    rescored = table_rows(capsys.readouterr().out)
    assert len(rescored) == 2
    assert float(rescored[0][1]) < float(rescored[1][1])
    wrong = tmp_path / 'cnn.safetensors'
    call('extract', data / 'query', checkpoint, '-o', wrong, '--feature', 'cnn')
    assert 'holds other features' in failure('search', index, query, '--cohort', wrong)
    with pytest.raises(SystemExit) as stop:
        call('search', index, query, '--cohort-size', 5)
    assert stop.value.code == 2


def test_what_users_get_wrong_is_one_line(data, run, checkpoint, tmp_path):
    own, saved = run
    assert 'also name the checkpoint' in failure('calibrate', saved)
    assert 'no saved features' in failure('calibrate', tmp_path, own)
    assert 'does not exist' in failure('calibrate', tmp_path / 'none.safetensors', own)
    assert 'was not written by fusionreid extract' in failure(
        'calibrate', write_image(tmp_path / 'a.jpg'), own
    )
    message = failure('calibrate', saved, own, '--mean-camera')
    assert 'the model gives' in message
    assert 'SIE' in message
    assert "no feature 'hands'" in failure('calibrate', saved, own, '--feature', 'hands')
    cnn = tmp_path / 'cnn'
    call('index', data / 'query', own, '-o', cnn, '--feature', 'cnn')
    message = failure('calibrate', saved, own, '--index', cnn, '-o', tmp_path / 'c.json')
    assert f'{cnn} holds features of cnn' in message
    assert not (tmp_path / 'c.json').exists()  # nothing is measured before
    # The same architecture with other weights: the features of a few photos are computed again.
    other = write_checkpoint(write_tiny_config(tmp_path, data), tmp_path / 'other.pth')
    message = failure('calibrate', saved, other)
    assert 'differs from what the model gives' in message
    assert not list(tmp_path.glob('*.calibration.json'))


@pytest.mark.slow
def test_an_open_set_is_scored_by_analyze(data, run, tmp_path, capsys):
    checkpoint, saved = run
    cohort = tmp_path / 'cohort.safetensors'
    call('extract', data / 'bounding_box_train', checkpoint, '-o', cohort)
    capsys.readouterr()
    call(
        'analyze', saved, '-o', tmp_path / 'out', '--samples', 5,
        '--open-set', '--center-cameras', '--cohort', cohort,
    )  # fmt: skip
    printed = capsys.readouterr().out
    assert 'Who is found, while strangers are not?' in printed
    record = json.loads((tmp_path / 'out' / 'analysis.json').read_text())['open_set']
    ways = ['Euclidean distance', 'AS-norm', 'cameras centered', 'cameras centered, AS-norm']
    assert [*record['scores']] == ways
    for way in ways:
        assert f'| {way} ' in printed
        for point in record['scores'][way]['points']:
            assert point['fpir'] <= point['target_fpir']
            assert 0 <= point['tpir'] <= record['scores'][way]['rank1']
    # What fusionreid test says of the same features.
    call('test', '--from', saved, '--open-set', '--features', 'all', '--out', tmp_path)
    scores = json.loads((tmp_path / 'metrics.json').read_text())
    for point in record['scores']['Euclidean distance']['points']:
        found = [
            scores[f'reid/open_set.{name}_at_{point["target_fpir"]:g}']
            for name in ('tpir', 'fpir', 'threshold')
        ]
        assert found == pytest.approx(
            [100 * point['tpir'], 100 * point['fpir'], point['threshold']]
        )
    for number in ('num_known', 'num_strangers'):
        assert scores[f'reid/open_set.{number}'] == record[number]
    with pytest.raises(SystemExit):
        parse_command('test', ['--from', str(saved), '--open-set', '2'])
    args = parse_command('analyze', [str(saved), '--open-set', '0.2'])
    assert args.open_set == [0.2]
    with pytest.raises(SystemExit):
        parse_command('analyze', [str(saved), '--center-cameras'])
    wrong = tmp_path / 'cnn.safetensors'
    call('extract', data / 'query', checkpoint, '-o', wrong, '--feature', 'cnn')
    assert 'has features of width' in failure(
        'analyze', saved, '-o', tmp_path, '--open-set', '--cohort', wrong
    )
