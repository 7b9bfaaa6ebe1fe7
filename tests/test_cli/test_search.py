"""``fusionreid search``: from queries to a table and a picture of what was found."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from gallery_commands import HISTOGRAM, call, failure, table_rows
from image_trees import write_image
from PIL import Image
from tiny_runs import parse_command

from fusionreid.gallery.engines.local import LocalEngine
from fusionreid.visualization.style import RIGHT_COLOR, WRONG_COLOR


@pytest.fixture(scope='module')
def index(data, tmp_path_factory) -> Path:
    """The gallery's images by their colors, which finds people that are rendered."""
    out = tmp_path_factory.mktemp('index') / 'index'
    call('index', data / 'bounding_box_test', '-o', out, '--config', HISTOGRAM)
    return out


def test_the_right_people_are_found_and_drawn(data, index, tmp_path, capsys):
    queries = sorted((data / 'query').glob('*.jpg'))[:6]
    out = tmp_path / 'pictures' / 'result.png'
    call('search', index, *queries, '-k', 3, '--other-cameras', '-o', out)
    printed = capsys.readouterr().out
    blocks = printed.split('query ')[1:]
    assert len(blocks) == 6
    right = 0
    for query, block in zip(queries, blocks, strict=True):
        person, camera = query.name.split('_c')[0], query.name.split('_c')[1][0]
        answers = table_rows(block)
        assert [row[0] for row in answers] == ['1', '2', '3']
        assert camera not in [row[2] for row in answers]
        assert [float(row[1]) for row in answers] == sorted(float(row[1]) for row in answers)
        right += answers[0][3] == str(int(person))
    assert right >= 4
    picture = np.array(Image.open(out))
    first = table_rows(blocks[0])[0]
    color = RIGHT_COLOR if first[3] == str(int(queries[0].name[:4])) else WRONG_COLOR
    assert (picture == color).all(axis=2).sum() > 1000


def test_filters_and_folders_of_queries(data, index, tmp_path, capsys):
    query = min((data / 'query').glob('*.jpg'))
    call('search', index, query, '-k', 20, '--camera', 2, 5)
    assert {row[2] for row in table_rows(capsys.readouterr().out)} <= {'2', '5'}
    call('search', index, query, '-k', 20, '--exclude-camera', 1, 2)
    assert not {row[2] for row in table_rows(capsys.readouterr().out)} & {'1', '2'}
    call('search', index, query, '--camera', 99, '-o', tmp_path / 'none.png')
    assert 'no image passes the filters' in capsys.readouterr().out
    assert Image.open(tmp_path / 'none.png').size[0] > 300
    call('search', index, data / 'query', '-k', 1)
    printed = capsys.readouterr().out
    assert printed.count('query ') == len(list((data / 'query').glob('*.jpg')))


def test_identities_are_chosen_or_left_out(data, index, capsys):
    query = min((data / 'query').glob('*.jpg'))
    own = str(int(query.name[:4]))
    call('search', index, query, '-k', 20, '--identity', own, 7)
    assert own in (found := {row[3] for row in table_rows(capsys.readouterr().out)})
    assert found <= {own, '7'}
    call('search', index, query, '-k', 20, '--exclude-identity', own)
    rows = table_rows(capsys.readouterr().out)
    assert len(rows) == 20
    assert own not in {row[3] for row in rows}
    call('search', index, query, '--identity', 999)
    assert 'no image passes the filters' in capsys.readouterr().out
    assert 'no image of the index has the identity' in failure(
        'search', index, query, '--exclude-identity', 'Anna'
    )
    assert 'no image of the index has a time' in failure('search', index, query, '--to-time', 9)


@pytest.mark.parametrize(
    ('option', 'value'),
    [
        ('--identity', '-1'),
        ('--from-time', 'noon'),
        ('--from-time', '-1'),
        ('--from-time', 'nan'),
        ('--to-time', '1:75'),
        ('--to-time', '1:2:3:4'),
        ('--to-time', '1:-1'),
        ('--to-time', '1:99:00'),
    ],
)
def test_filters_that_are_none(option, value, capsys):
    with pytest.raises(SystemExit):
        parse_command('search', ['index', 'query.jpg', f'{option}={value}'])
    assert f'got {value}' in capsys.readouterr().err


def test_answers_that_are_gone_are_drawn_gray(data, tmp_path, capsys):
    folder = tmp_path / 'images'
    for number in range(3):
        write_image(folder / f'{number}.jpg', number)
    call('index', folder, '-o', tmp_path / 'index', '--config', HISTOGRAM)
    (folder / '1.jpg').unlink()
    call('search', tmp_path / 'index', folder / '0.jpg', '-o', tmp_path / 'a.png')
    assert (tmp_path / 'a.png').exists()
    assert '1.jpg' in capsys.readouterr().out


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
        call('search', index, name, '-k', 3)
        answers = [row[-1] for row in table_rows(capsys.readouterr().out)]
        assert len(answers) == 3
        assert image.name not in map(os.path.basename, answers)


def test_what_users_get_wrong_is_one_line(data, index, tmp_path, capsys):
    query = min((data / 'query').glob('*.jpg'))
    for expected, arguments in {
        'is no index': [tmp_path, query],
        'k=100000 is outside 1..': [index, query, '-k', 100_000],
        'does not exist': [index, 'nothing.jpg'],
        'cannot be drawn': [index, query, '-k', 1, '-o', tmp_path / 'a.unknown'],
    }.items():
        assert expected in failure('search', *arguments)
    (tmp_path / 'empty').mkdir()
    assert 'there is no image in' in failure('search', index, tmp_path / 'empty')
    frames = [Image.new('RGB', (32, 64), (60 * n, 0, 0)) for n in range(3)]
    for kind in ('gif', 'png', 'webp'):
        moving = tmp_path / f'moving.{kind}'
        frames[0].save(moving, save_all=True, append_images=frames[1:])
        assert f"image '{moving}' is an animation" in failure('search', index, moving, '-k', 1)
    nameless = write_image(tmp_path / 'someone.jpg')
    message = failure('search', index, nameless, '--other-cameras')
    assert 'give it by --query-camera' in message
    call('search', index, nameless, '--other-cameras', '--query-camera', 2, '-k', 3)
    assert 'camera 2' in capsys.readouterr().out


@pytest.mark.parametrize('option', ['--camera', '--exclude-camera', '--query-camera'])
@pytest.mark.parametrize('number', ['0', '1.5', '+2'])
def test_cameras_are_counted_from_1(option, number, capsys):
    with pytest.raises(SystemExit) as stop:
        call('search', 'index', 'query.jpg', option, number)
    assert stop.value.code == 2
    assert f'argument {option}: cameras are counted from 1, got {number}' in capsys.readouterr().err
    args = parse_command('search', ['index', 'query.jpg', option, '3'])
    assert getattr(args, option[2:].replace('-', '_')) in (2, [2])
    args = parse_command('search', ['index', 'query.jpg', option, 'front'])
    assert getattr(args, option[2:].replace('-', '_')) in ('front', ['front'])


def test_a_camera_that_the_model_does_not_know(data, checkpoint, tmp_path, capsys):
    index = tmp_path / 'index'
    arguments = [data / 'query', checkpoint, '-o', index, '--feature', 'transformer']
    call('index', *arguments)
    nameless = write_image(tmp_path / 'someone.jpg')
    message = failure('search', index, nameless, '--query-camera', 9)
    assert 'someone.jpg is of camera 9' in message
    assert 'cameras 1 to 6' in message
    assert '--mean-camera' in message
    call(
        'search', index, nameless, '--query-camera', 9, '--other-cameras', '--mean-camera', '-k', 2
    )
    printed = capsys.readouterr().out
    assert 'camera 9' in printed
    assert len(table_rows(printed)) == 2


def test_an_answer_without_an_identity_is_drawn_without_a_verdict(
    data, checkpoint, tmp_path, capsys
):
    folder = tmp_path / 'images'
    for path in sorted((data / 'bounding_box_test').glob('*.jpg'))[:8]:
        write_image(folder / path.name)
    query = write_image(folder / 'someone.png', 3)  # in the index itself
    call('index', folder, checkpoint, '-o', tmp_path / 'index', '--feature', 'cnn_fused')
    capsys.readouterr()
    call('search', tmp_path / 'index', query, '-k', 3, '-o', tmp_path / 'a.png')
    printed = capsys.readouterr().out
    assert 'camera ?, identity ?' in printed
    rows = table_rows(printed)
    assert len(rows) == 3
    assert not any(row[-1].endswith('someone.png') for row in rows)
    picture = np.array(Image.open(tmp_path / 'a.png'))
    for color in (RIGHT_COLOR, WRONG_COLOR):
        assert (picture == color).all(axis=2).sum() < 100


def test_equal_filters_are_searched_together(data, index, monkeypatch, capsys):
    images = sorted((data / 'query').glob('*.jpg'))
    cameras = [path.name.split('_c')[1][0] for path in images]
    indexed = sorted((data / 'bounding_box_test').glob('0*.jpg'))[:2]
    calls = []
    search = LocalEngine.search

    def counted(self, queries, k, wanted):
        calls.append((len(queries), wanted))
        return search(self, queries, k, wanted)

    monkeypatch.setattr(LocalEngine, 'search', counted)
    call('search', index, *images, '--other-cameras', '-k', 4)
    blocks = capsys.readouterr().out.split('query ')[1:]
    assert sorted(count for count, _ in calls) == sorted(map(cameras.count, set(cameras)))
    for block, path, camera in zip(blocks, images, cameras, strict=True):
        assert block.splitlines()[0].split(':')[0].endswith(path.name)
        rows = table_rows(block)
        assert len(rows) == 4
        assert camera not in {row[2] for row in rows}
        # Alone, the query finds the same.
        call('search', index, path, '--other-cameras', '-k', 4)
        assert table_rows(capsys.readouterr().out) == rows
    # Only those that are in the index need a filter of their own, against finding themselves.
    calls.clear()
    call('search', index, *images, *indexed)
    assert [count for count, _ in calls] == [len(images), 1, 1]
    assert [wanted.exclude_ids for _, wanted in calls] == [
        None,
        *((str(path),) for path in indexed),
    ]
