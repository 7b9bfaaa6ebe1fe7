"""``fusionreid check-dataset``: what is wrong with images and labels, and the exit status."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections import Counter
from pathlib import Path

import pytest
from image_trees import write_csv, write_image, write_market, write_msmt17
from PIL import Image
from tiny_runs import refused, write_tiny_config

from fusionreid.cli.main import run_command

FILES = {
    'bounding_box_train': ['0002_c1s1_1.jpg', '0002_c2s1_1.jpg', '0004_c1s1_1.jpg', '0004_c3.jpg'],
    'query': ['0005_c1s1_1.jpg', '0006_c2s1_1.jpg'],
    'bounding_box_test': ['0005_c2s1_2.jpg', '0006_c3s1_2.jpg', '0000_c1s1_2.jpg'],
}


@pytest.fixture
def market(tmp_path: Path) -> Path:
    """A data set in which nothing is wrong."""
    root = write_market(tmp_path / 'people', {folder: [] for folder in FILES})
    seed = 0
    for folder, names in FILES.items():
        for name in names:
            write_image(root / folder / name, seed := seed + 1, (64, 32))
    return root


def check(*arguments: object) -> int:
    return run_command('check-dataset', [*map(str, arguments), '--workers', '0'])


def findings(tmp_path: Path, *arguments: object) -> list[dict[str, str]]:
    out = tmp_path / 'out.json'
    status = check(*arguments, '--out', out)
    found = json.loads(out.read_text())
    assert status == any(each['severity'] == 'error' for each in found)
    return found


def kinds(found: list[dict[str, str]]) -> dict[str, int]:
    return dict(Counter(each['kind'] for each in found))


def test_a_good_data_set(market, tmp_path, capsys):
    assert findings(tmp_path, market) == []
    captured = capsys.readouterr()
    assert captured.out.splitlines()[-2].endswith('9 images: 0 errors, 0 notes')
    assert 'read as MarketStyleDataset' in captured.out
    assert 'decoding images: 9/9 (100%)' in captured.err
    rows = [line.split() for line in captured.out.splitlines() if line.startswith('people ')]
    assert [row[2:] for row in rows] == [
        ['train', '2', '4', '3'],
        ['query', '2', '2', '2'],
        ['gallery', '2', '3', '3'],
    ]


def test_images_in_several_places(market, tmp_path):
    train, query, gallery = (market / folder for folder in FILES)
    shutil.copy(query / '0005_c1s1_1.jpg', train / '0002_c4.jpg')
    shutil.copy(train / '0002_c1s1_1.jpg', train / '0004_c5.jpg')
    shutil.copy(train / '0004_c3.jpg', train / '0004_c6.jpg')
    shutil.copy(query / '0006_c2s1_1.jpg', gallery / '0006_c1s1_9.jpg')
    shutil.copy(query / '0006_c2s1_1.jpg', gallery / '0006_c2s1_9.jpg')
    # The same pixels in another file.
    Image.open(gallery / '0005_c2s1_2.jpg').save(train / '0002_c5.png')
    found = findings(tmp_path, market)
    assert kinds(found) == {
        'image in train and test': 2,
        'image of two people': 1,
        'image in query and gallery': 1,
        'repeated image': 2,
    }
    leaks = [each for each in found if each['kind'] == 'image in train and test']
    assert {os.path.basename(each['path']) for each in leaks} == {
        '0005_c1s1_1.jpg',
        '0005_c2s1_2.jpg',
    }
    assert 'same pixels as an image of train, person 2' in {each['detail'] for each in leaks}


def test_people_in_several_places(market, tmp_path):
    write_image(market / 'bounding_box_train' / '0005_c1.jpg', 50, (64, 32))
    write_image(market / 'bounding_box_train' / '0007_c1.jpg', 51, (64, 32))
    write_image(market / 'bounding_box_train' / '0008_c1.jpg', 52, (64, 32))
    write_image(market / 'bounding_box_train' / '0008_c1_b.jpg', 53, (64, 32))
    write_image(market / 'query' / '0009_c1.jpg', 54, (64, 32))
    write_image(market / 'query' / '0010_c1.jpg', 55, (64, 32))
    write_image(market / 'bounding_box_test' / '0010_c1.jpg', 56, (64, 32))
    found = findings(tmp_path, market)
    assert kinds(found) == {
        'person in train and test': 1,
        'query without a match': 2,
        'person with one image': 2,
        'person in one camera': 1,
    }
    unmatched = {each['person']: each['detail'] for each in found if 'match' in each['kind']}
    assert unmatched == {
        '9': 'no gallery image shows the person',
        '10': 'only its own camera shows the person',
    }


def test_no_query_has_a_match(market, tmp_path):
    for path in (market / 'bounding_box_test').glob('*'):
        if not path.name.startswith('0000'):
            path.unlink()
    write_image(market / 'bounding_box_test' / '0005_c1.jpg', 60, (64, 32))
    assert kinds(findings(tmp_path, market)) == {
        'query without a match': 2,
        'no query has a match': 1,
    }


def test_broken_files_and_names_are_listed_escaped_and_written_exactly(market, tmp_path, capsys):
    query = market / 'query'
    name = '0005_c3_\x1b[31m\u202e.jpg'
    (query / name).write_bytes(b'no image')
    (query / '0005_c4.jpg').touch()
    os.mkfifo(query / '0005_c5.jpg')
    (query / 'x\n.gif').touch()
    found = findings(tmp_path, market)
    assert kinds(found) == {
        'not a regular file': 1,
        'empty file': 1,
        'cannot be decoded': 1,
        'not taken': 1,
    }
    assert str(query / name) in [each['path'] for each in found]
    shown = capsys.readouterr()
    assert '\x1b' not in shown.out + shown.err
    assert r'x\n.gif: images of a format' in shown.out
    assert r'0005_c3_\x1b[31m\u202e.jpg (query, person 5)' in shown.out
    assert check(market, '--out', tmp_path / 'out.csv') == 1
    with open(tmp_path / 'out.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert [row['path'] for row in rows] == [each['path'] for each in found]


def test_only_the_first_of_a_kind_are_shown(market, capsys):
    for number in range(7):
        (market / 'query' / f'0005_c{number + 1}_x.jpg').touch()
    assert check(market, '--first', '2') == 1
    shown = capsys.readouterr().out
    assert shown.count('it has 0 bytes') == 2
    assert '... and 5 more' in shown


def test_missing_images_of_a_table_do_not_end_the_check(tmp_path):
    rows = ['a.jpg,anna,0,train', 'b.jpg,anna,-1,train', 'c.jpg,ben,0,query', 'd.jpg,ben,1,gallery']
    root = write_csv(tmp_path / 'shop', rows)
    (root / 'a.jpg').unlink()
    (root / 'd.jpg').write_bytes(b'')
    for target in (root, root / 'people.csv'):
        found = findings(tmp_path, target)
        assert {each['kind']: each['person'] for each in found if each['person']} == {
            'missing file': 'anna',
            'empty file': 'ben',
            'unknown camera': 'anna',
            'tiny': 'ben',
        }
    (root / 'people.csv').write_text('path,person_id,camera_id,role\nb.jpg,1,-3,train\n')
    found = findings(tmp_path, root)
    assert 'line 2: camera_id must be' in found[0]['detail']
    assert 'empty file' in kinds(found)  # the images are decoded all the same


def test_a_table_of_a_header_alone_is_an_error(tmp_path):
    root = write_csv(tmp_path / 'shop', [])
    found = findings(tmp_path, root / 'people.csv')
    assert 'lists no image' in found[0]['detail']
    assert check(root / 'people.csv') == 1


def test_msmt17_numbers_people_of_training_and_test_apart(tmp_path):
    root = write_msmt17(tmp_path / 'MSMT17_V1')
    found = findings(tmp_path, root)
    assert 'person in train and test' not in kinds(found)
    assert 'image in train and test' in kinds(found)  # the helper writes equal images


def test_a_plain_folder(tmp_path):
    folder = tmp_path / 'images'
    write_image(folder / 'a.jpg', 1, (64, 32))
    write_image(folder / 'deep' / 'b.jpg', 1, (64, 32))
    write_image(folder / '0001_c1.jpg', 2, (64, 32))
    (folder / 'loop').symlink_to(folder)
    found = findings(tmp_path, folder)
    assert kinds(found) == {'repeated image': 1, 'not taken': 1}
    (tmp_path / 'nothing').mkdir()
    assert kinds(findings(tmp_path, tmp_path / 'nothing')) == {'role without images': 1}


def test_wrong_arguments_are_one_line(market, tmp_path, capsys):
    os.mkfifo(tmp_path / 'pipe.csv')
    for arguments, message in {
        ('nothing_like_this',): 'nothing_like_this',
        (tmp_path / 'none.csv',): 'none.csv is no table of images: missing',
        (tmp_path / 'pipe.csv',): 'is no table of images: a named pipe',
        (market, '--data-root', 'x'): 'are for configs',
        (market, '--out', market / 'query' / 'x.json' / 'y.json', '--first', '0'): '--first',
        (market, '--out', tmp_path / 'x.txt'): '--out must end in .csv or .json',
        (market, '--workers', '-1'): '--workers must be 0 or more',
    }.items():
        with pytest.raises(SystemExit) as stop:
            run_command('check-dataset', [*map(str, arguments)])
        assert message in f'{stop.value}{capsys.readouterr().err}'


def test_all_data_sets_of_a_config(market, tmp_path):
    other = tmp_path / 'other'
    shutil.copytree(market, other)
    for seed, path in enumerate(sorted(other.rglob('*.jpg')), 100):
        write_image(path, seed, (64, 32))
    lines = f"test_cfg['datasets'] = [dict(type='MarketStyleDataset', data_root={str(other)!r})]\n"
    config = write_tiny_config(tmp_path, market, extra=lines)
    assert [each for each in findings(tmp_path, config) if each['severity'] == 'error'] == []
    shutil.copy(other / 'query' / '0005_c1s1_1.jpg', other / 'bounding_box_test' / '0006_c1.jpg')
    (market / 'bounding_box_train' / '0002_c1s1_1.jpg').write_bytes(b'no image')
    found = findings(tmp_path, config)
    errors = {(each['kind'], each['dataset']) for each in found if each['severity'] == 'error'}
    assert errors == {('cannot be decoded', 'Synthetic'), ('image of two people', 'other')}
    # An image that one data set trains on, among the queries of another one.
    leaked = other / 'query' / '0006_c9.jpg'
    shutil.copy(market / 'bounding_box_train' / '0004_c3.jpg', leaked)
    found = findings(tmp_path, config)
    leaks = [each for each in found if each['kind'] == 'image in train and test']
    assert [each['path'] for each in leaks] == [str(leaked)]


def test_a_data_set_that_is_not_there_is_a_finding(tmp_path):
    found = findings(tmp_path, 'color_histogram_synthetic', '--data-root', tmp_path / 'nowhere')
    assert kinds(found) == {'data set cannot be read': 1}
    assert 'nowhere' in found[0]['detail']


@pytest.mark.slow
def test_training_begins_only_after_a_check_without_errors(data, tmp_path, capsys):
    shutil.copytree(data, tmp_path / 'data')
    config = write_tiny_config(tmp_path, tmp_path / 'data')
    broken = next((tmp_path / 'data' / 'query').glob('*.jpg'))
    broken.write_bytes(broken.read_bytes()[:100])
    arguments = [str(config), '--work-dir', str(tmp_path / 'run'), '--check']
    message = refused('train', arguments)
    assert message.startswith('error: the check has found 1 errors')
    assert broken.name in capsys.readouterr().out
    assert not (tmp_path / 'run').exists()
    # Without validation its images do not matter.
    short = ['train_cfg.max_epochs=1', 'param_scheduler.warmup_epochs=0']
    arguments += ['--no-validate', '--cfg-options', *short]
    assert run_command('train', arguments) == 0
    assert (tmp_path / 'run' / 'epoch_1.pth').exists()
    assert '0 errors' in capsys.readouterr().out
