"""``fusionreid group``: from photos or an index to a folder that tells who is in which photo."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from gallery_commands import HISTOGRAM, call, failure
from image_trees import write_image
from PIL import Image

from fusionreid.gallery import Gallery, people
from fusionreid.utils.csv_table import unescape_formula


@pytest.fixture(scope='module')
def index(data, tmp_path_factory) -> Path:
    """The query images by their colors, which find people that are rendered."""
    out = tmp_path_factory.mktemp('index') / 'index'
    call('index', data / 'query', '-o', out, '--config', HISTOGRAM)
    return out


@pytest.fixture
def numbers(tmp_path) -> Path:
    """An index of features without images: two people, two photos each, and somebody."""
    gallery = Gallery()
    features = torch.tensor([[1.0, 0], [1, 0.1], [0, 1], [0.1, 1], [-1, -1]])
    cameras, persons = [0, 0, 0, 1, 1], [3, 3, 5, 5, -1]
    names = ['a', 'b', 'c', 'd', '=e']
    gallery.add(features=features, ids=names, person_ids=persons, camera_ids=cameras)
    gallery.save(tmp_path / 'numbers')
    return tmp_path / 'numbers'


def read(folder: Path) -> tuple[dict[str, dict[str, str]], dict]:
    """Rows of the table by photo, and the summary."""
    with open(folder / 'photos.csv', newline='') as file:
        rows = {unescape_formula(row['photo']): row for row in csv.DictReader(file)}
    return rows, json.loads((folder / 'people.json').read_text())


@pytest.mark.slow
def test_a_folder_and_its_index_are_grouped_alike(data, index, tmp_path, capsys):
    call('group', index, '-o', tmp_path / 'a', '--sheets', 2, '--max-distance', 1.0)
    said = capsys.readouterr().out
    arguments = ('-o', tmp_path / 'b', '--config', HISTOGRAM, '--max-distance', 1.0, '--links')
    call('group', data / 'query', *arguments)
    assert (tmp_path / 'a/photos.csv').read_bytes() == (tmp_path / 'b/photos.csv').read_bytes()
    rows, summary = read(tmp_path / 'a')
    photos = sorted((data / 'query').glob('*.jpg'))
    assert [*rows] == [str(path) for path in photos]
    found = summary['people']
    assert summary['photos'] == len(photos)
    assert sum(each['photos'] for each in found) + summary['unsure'] == len(photos)
    scores = summary['scores']
    assert f'{len(photos)} photos: {len(found)} people, {summary["unsure"]} photos unsure' in said
    assert f'V-measure {scores["v_measure"]:.3f}' in said
    assert f'pairwise F1 {scores["f1"]:.3f}' in said
    assert scores['v_measure'] > 0.5
    assert len(found) > 2
    sheets = sorted(path.name for path in (tmp_path / 'a/sheets').iterdir())
    assert sheets == ['person-0001.png', 'person-0002.png']
    assert Image.open(tmp_path / 'a/overview.png').width >= 300
    assert len([*(tmp_path / 'b/sheets').iterdir()]) == len(found)
    links = sorted((tmp_path / 'b/photos/person-0001').iterdir())
    assert [os.readlink(link) for link in links] == [
        name for name, row in rows.items() if row['person'] == '1'
    ]
    assert not (tmp_path / 'a/photos').exists()


def test_features_alone_are_grouped_without_sheets(numbers, tmp_path, capsys):
    call('group', numbers, '-o', tmp_path / 'out', '--max-distance', 0.3, '--links')
    assert 'no contact sheet: the index holds features without image files' in (
        capsys.readouterr().out
    )
    rows, summary = read(tmp_path / 'out')
    assert {name: row['person'] for name, row in rows.items()} == {
        **dict(a='1', b='1', c='2', d='2'),
        '=e': '',
    }
    assert rows['=e']['distance'] == ''
    assert float(rows['a']['distance']) == pytest.approx(0.0498, abs=1e-3)
    assert (summary['unsure'], summary['scores']['f1']) == (1, 1)
    assert summary['people'][1]['cameras'] == [0, 1]
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == [
        'people.json',
        'photos.csv',
    ]


def test_times_keep_photos_of_one_camera_apart(numbers, tmp_path, capsys):
    (tmp_path / 'times.csv').write_text('path,time\na,12:00\nb,12:00\nc,12:00\nd,12:00\n')
    arguments = (numbers, '--max-distance', 0.3, '--times', tmp_path / 'times.csv')
    call('group', *arguments, '-o', tmp_path / 'out')
    output = capsys.readouterr()
    assert '3 photos share camera and time with others and are kept apart' in output.out
    assert 'such as a and b: they cannot be grouped' in output.err
    rows, _ = read(tmp_path / 'out')
    assert [row['person'] for row in rows.values()] == ['', '', '1', '1', '']
    assert rows['d']['time'] == '12:00'
    (tmp_path / 'times.csv').write_text('path,time\nx,1\n')
    line = failure('group', *arguments, '-o', tmp_path / 'other')
    assert 'none of its 1 paths is a photo of' in line
    with pytest.raises(SystemExit, match='2'):
        call('group', *arguments, '-o', tmp_path / 'other', '--ignore-times')
    assert 'contradict each other' in capsys.readouterr().err


def test_frames_in_names_keep_photos_apart_unless_ignored(tmp_path, capsys):
    photos = tmp_path / 'photos'
    for number, name in enumerate(('0001_c1s1_000001_00', '0002_c1s1_000001_01', '0001_c2s1_7_00')):
        write_image(photos / f'{name}.png', 0 if number < 2 else 1, (32, 16))
    arguments = (photos, '--config', HISTOGRAM, '--max-distance', 2, '--sheets', 0)
    call('group', *arguments, '-o', tmp_path / 'apart')
    call('group', *arguments, '-o', tmp_path / 'together', '--ignore-times')
    assert read(tmp_path / 'together')[1]['people'][0]['photos'] == 3
    assert read(tmp_path / 'apart')[1]['people'][0]['photos'] == 2
    assert capsys.readouterr().out.count('kept apart') == 1


def test_nothing_is_overwritten_and_nothing_is_left_half(numbers, tmp_path, monkeypatch):
    out = tmp_path / 'out'
    out.mkdir()
    (out / 'mine.txt').write_text('mine')
    line = failure('group', numbers, '-o', out)
    assert 'is not empty (it holds mine.txt): name a folder that does not exist yet' in line
    assert 'is no folder' in failure('group', numbers, '-o', out / 'mine.txt')
    assert 'cannot be written' in failure('group', tmp_path, '-o', out / 'mine.txt' / 'new')
    before = sorted(tmp_path.iterdir())

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(people, 'describe_people', stop)
    with pytest.raises(BaseException, match='^(130)?$'):
        call('group', numbers, '-o', tmp_path / 'new', '--max-distance', 0.3)
    assert sorted(tmp_path.iterdir()) == before
    assert [path.name for path in out.iterdir()] == ['mine.txt']


def test_unreadable_photos_are_named_and_the_others_grouped(data, tmp_path, capsys):
    photos = tmp_path / 'photos'
    photos.mkdir()
    for path in sorted((data / 'query').glob('*.jpg'))[:6]:
        shutil.copy(path, photos)
    (photos / 'broken.jpg').write_bytes(b'no image')
    line = failure(
        'group', photos, '-o', tmp_path / 'out', '--config', HISTOGRAM, '--max-distance', 1
    )
    assert '1 images, named above, could not be read' in line
    assert 'broken.jpg' in capsys.readouterr().err
    assert read(tmp_path / 'out')[1]['photos'] == 6


def test_bad_input_is_one_line(numbers, tmp_path):
    def line(source, *options):
        return failure('group', source, *options, '-o', tmp_path / 'out')

    (empty := tmp_path / 'empty').mkdir()
    assert 'there is no image in' in line(empty)
    assert 'there is no folder' in line(tmp_path / 'missing')
    write_image(empty / 'one.png', 0, (32, 16))
    assert 'holds 1 photo: at least 2' in line(empty, '--config', HISTOGRAM)
    assert 'is an index, which holds its features: leave' in line(numbers, 'some.pth')
    gallery = Gallery()
    gallery.add(features=torch.eye(3), ids=['a', 'b', 'c'])
    gallery.save(tmp_path / 'alike')
    assert '3 photos are too few, or too much alike' in line(tmp_path / 'alike')
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--max-distance', 'nan'], '--max-distance must be in 0..2, got nan'),
        (['--max-distance', '3'], '--max-distance must be in 0..2, got 3.0'),
        (['--sheets', '-1'], '--sheets must be 0 or more, got -1'),
        (['--neighbors', '0'], '--neighbors: must be at least 1, got 0'),
        (['--min-photos', 'x'], "--min-photos: 'x' is not a whole number"),
    ],
)
def test_options_out_of_range_are_named(tmp_path, capsys, options, message):
    with pytest.raises(SystemExit, match='2'):
        call('group', 'index', '-o', tmp_path / 'out', *options)
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_a_table_names_cameras_and_a_calibration_limits_the_distance(data, tmp_path, capsys):
    photos = sorted((data / 'query').glob('*.jpg')) + sorted(
        (data / 'bounding_box_test').glob('*.jpg')
    )
    lines = ['path,person_id,camera_id,role']
    for path in photos:
        person, camera = path.name[:4], int(path.name[6])
        if person.isdigit() and int(person):
            lines.append(f'{path},Anna {person},{["yard", "Hof – Süd"][camera % 2]},gallery')
    table = tmp_path / 'people.csv'
    table.write_text('\n'.join(lines) + '\n', encoding='utf-8')
    arguments = (table, '--config', HISTOGRAM)
    message = failure('group', *arguments, '-o', tmp_path / 'a', '--max-fpr', 0.1)
    assert 'run fusionreid calibrate' in message
    call('index', *arguments, '-o', tmp_path / 'index')
    call('calibrate', tmp_path / 'index', '-o', tmp_path / 'calibration.json')
    capsys.readouterr()
    call('group', tmp_path / 'index', '-o', tmp_path / 'b', '--max-fpr', 0.1)
    limit = Gallery.load(tmp_path / 'index').calibration.distance_at(0.1)
    assert f'up to the distance {limit:.4f} (as near as 0.1 of' in capsys.readouterr().out
    rows, summary = read(tmp_path / 'b')
    given = ('--max-fpr', 0.1, '--calibration', tmp_path / 'calibration.json')
    call('group', *arguments, '-o', tmp_path / 'c', *given)
    assert read(tmp_path / 'c')[1]['max_distance'] == summary['max_distance']
    with pytest.raises(SystemExit):
        call('group', *arguments, '-o', tmp_path / 'd', *given[2:])
    assert '--calibration is for --max-fpr' in capsys.readouterr().err
    assert {row['camera_id'] for row in rows.values()} == {'yard', 'Hof – Süd'}
    assert summary['max_distance'] == pytest.approx(limit)
    assert set(summary['people'][0]['cameras']) <= {'yard', 'Hof – Süd'}
