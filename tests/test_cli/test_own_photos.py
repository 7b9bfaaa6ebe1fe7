"""Photos of one's own in an index: tables, folders as cameras, and commands that change it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from gallery_commands import HISTOGRAM, call, failure, table_rows
from image_trees import write_image

from fusionreid.apis import Calibration
from fusionreid.cli.labeled_features import read_extracted
from fusionreid.cli.main import run_command
from fusionreid.gallery import Gallery, versioned_folder
from fusionreid.utils.names import number_of

NAMES = {
    'north door': ('IMG 1.JPG', 'ä.jpeg'),
    'Hof – Süd': ('bild (2).PNG', 'b.jpg'),
    '3': ('c.jpg',),
}
ROWS = [
    'north door/IMG 1.JPG,Anna,north door,query',
    'north door/ä.jpeg,Zoë,north door,gallery',
    'Hof – Süd/bild (2).PNG,Anna,Hof – Süd,gallery',
    'Hof – Süd/b.jpg,12,-1,gallery',
]


@pytest.fixture
def photos(tmp_path) -> Path:
    folder = tmp_path / 'photos'
    seed = 0
    for camera, files in NAMES.items():
        for file in files:
            write_image(folder / camera / file, seed := seed + 1)
    (folder / 'people.csv').write_text('\n'.join(['path,person_id,camera_id,role', *ROWS]) + '\n')
    return folder


@pytest.fixture
def index(photos, tmp_path, capsys) -> Path:
    out = tmp_path / 'index'
    call('index', photos / 'people.csv', '-o', out, '--config', HISTOGRAM)
    capsys.readouterr()
    return out


def ids(index: Path) -> set[str]:
    return {Path(i).name for items in Gallery.load(index).item_blocks() for i in items.ids}


def test_a_table_is_indexed_and_answers_name_people(photos, index, tmp_path, capsys):
    query = photos / 'north door' / 'IMG 1.JPG'
    out, answers = tmp_path / 'a.png', tmp_path / 'a.json'
    call('search', index, query, '-k', 4, '--other-cameras', '-o', out, '--json', answers)
    printed = capsys.readouterr().out
    assert 'camera north door, identity Anna' in printed
    assert len(table_rows(printed)) == 2
    assert out.stat().st_size > 0
    (found,) = json.loads(answers.read_text())['queries']
    assert (found['camera'], found['identity']) == ('north door', 'Anna')
    by_name = {Path(each['path']).name: each for each in found['answers']}
    assert by_name['bild (2).PNG']['camera'] == 'Hof – Süd'
    assert by_name['bild (2).PNG']['identity'] == 'Anna'
    assert by_name['b.jpg']['camera'] is None
    assert by_name['b.jpg']['identity'] == 12
    assert [each['rank'] for each in found['answers']] == [1, 2]
    # The queries of the table, each asked once.
    call('search', index, photos / 'people.csv', query, '--role', 'query', '-k', 1)
    assert capsys.readouterr().out.count('query ') == 1
    call('search', index, query, '-k', 4, '--camera', 'Hof – Su\u0308d')
    assert [row[2:5] for row in table_rows(capsys.readouterr().out)] == [['Hof', '–', 'Süd']]


def test_folders_name_cameras(photos, tmp_path, capsys):
    out = tmp_path / 'folders'
    other = write_image(photos / 'other' / 'north door' / 'd.jpg', 9)
    arguments = [photos, '-o', out, '--config', HISTOGRAM, '--cameras-from-folders']
    call('index', *arguments)
    captured = capsys.readouterr()
    assert '3 cameras: 3, Hof – Süd, north door; 0 identities' in captured.out
    assert '2 folders are one camera, north door' in captured.err
    answers = tmp_path / 'a.json'
    call('search', out, other, '-k', 6, '--camera', 'north door', 3, '--json', answers)
    (query,) = json.loads(answers.read_text())['queries']
    assert query['camera'] == 'north door'
    assert sorted(str(each['camera']) for each in query['answers']) == [
        '3',
        'north door',
        'north door',
    ]
    call('search', out, photos / 'Hof – Süd', '--cameras-from-folders', '--other-cameras', '-k', 4)
    assert capsys.readouterr().out.count('camera Hof – Süd, identity ?') == 2


def test_updates(photos, index, tmp_path, capsys):
    new = write_image(photos / 'gate' / 'new.jpg', 20)
    call('index add', index, photos / 'gate', photos / 'people.csv')
    printed = capsys.readouterr().out
    assert '1 images, 1 of them new' in printed
    assert '4 images, 0 of them new' in printed
    assert len(Gallery.load(index)) == 5
    # What is there keeps its labels, which is said.
    call('index add', index, photos / 'Hof – Süd', '--cameras-from-folders')
    printed = capsys.readouterr().out
    assert '1 images have another camera or identity in the index, and keep it' in printed
    call('index remove', index, '--camera', 'Hof – Süd')
    assert ids(index) == {'IMG 1.JPG', 'ä.jpeg', 'b.jpg', 'new.jpg'}
    new.unlink()
    call('index remove', index, '--missing')
    call('index remove', index, '--missing')  # nothing is missing any more
    assert '0 images removed, 3 left' in capsys.readouterr().out
    call('index remove', index, photos / 'Hof – Süd', '--identity', 'Zoë')
    assert ids(index) == {'IMG 1.JPG'}
    call('index', photos, '-o', tmp_path / 'other', '--config', HISTOGRAM)
    before = Gallery.load(tmp_path / 'other')
    assert 'in both galleries' in failure('index merge', index, tmp_path / 'other')
    assert ids(index) == {'IMG 1.JPG'}
    call('index merge', index, tmp_path / 'other', '--keep-first')
    gallery = Gallery.load(index)
    assert len(gallery) == len(before) == 5
    assert gallery.camera_names == dict.fromkeys(gallery.camera_names, 'north door')
    query = str(photos / '3' / 'c.jpg')
    found, expected = (each.search(query, 5, ids=[query]) for each in (gallery, before))
    assert found.distances.tolist() == expected.distances.tolist()


def test_what_users_get_wrong_is_one_line(photos, index, tmp_path):
    other, table = tmp_path / 'other', photos / 'wrong.csv'
    gallery = Gallery()
    gallery.add(features=torch.eye(3), ids=['a', 'b', 'c'])
    gallery.save(other)
    (photos / '0').mkdir()
    write_image(photos / '0' / 'a.jpg')
    image = photos / 'north door' / 'IMG 1.JPG'
    before = ids(index)
    for expected, command, arguments in (
        (
            "no image of the index has the camera 'yard'",
            'search',
            [index, image, '--camera', 'yard'],
        ),
        ("has the camera 'yard'; it has Hof", 'index remove', [index, '--camera', 'yard']),
        ("has the identity 'Ben'", 'index remove', [index, '--identity', 'Ben']),
        ('nothing of the identity 99', 'index remove', [index, '--identity', 99]),
        ('nothing of the camera 2:', 'index remove', [index, '--camera', 2]),
        ("nothing of the image or folder 'x.jpg'", 'index remove', [index, image, 'x.jpg']),
        ('these are all 4 images', 'index remove', [index, photos]),
        ('computed elsewhere are not merged', 'index merge', [index, other]),
        ('is no index', 'index merge', [index, tmp_path]),
        ('in both galleries', 'index merge', [index, index]),
        ('does not exist', 'index add', [index, photos / 'nobody.jpg']),
        ('the gallery has no model', 'index add', [other, photos / '3']),
        ('counted from 1: rename it', 'index add', [index, photos, '--cameras-from-folders']),
        ('leave out --role', 'index add', [index, photos, '--role', 'query']),
        (
            'leave out --cameras-from-folders',
            'index add',
            [index, photos / 'people.csv', '--cameras-from-folders'],
        ),
        (
            'no rows of the role train',
            'index add',
            [index, photos / 'people.csv', '--role', 'train'],
        ),
        ('does not exist', 'index add', [index, photos / 'nothing.csv']),
    ):
        assert expected in failure(command, *arguments), (command, arguments)
        assert ids(index) == before
    for content, expected in {
        'path,person_id\na.jpg,1\n': 'lacks the columns camera_id, role',
        f'path,person_id,camera_id,role\n{ROWS[0]}\n{ROWS[0]}\n': 'is listed already in line 2',
        'path,person_id,camera_id,role\na.jpg,1,yard,query\nb.jpg,1,0,query\n': 'camera_id must be',
        'path,person_id,camera_id,role\n': 'lists no image',
    }.items():
        table.write_text(content)
        assert expected in failure('index add', index, table)
    with pytest.raises(SystemExit) as stop:
        run_command('index remove', [str(index)])
    assert stop.value.code == 2
    # Rows whose files are gone are named, the others are taken.
    table.write_text('path,person_id,camera_id,role\ngone.jpg,1,0,query\n3/c.jpg,1,0,query\n')
    assert '1 images, named above' in failure('index add', index, table)
    assert ids(index) == {*before, 'c.jpg'}


@pytest.mark.parametrize('command', ['add', 'remove', 'merge'])
def test_an_interrupted_change_leaves_the_index_as_it_was(
    command, photos, index, tmp_path, monkeypatch
):
    other = tmp_path / 'other'
    call('index', photos / '3', '-o', other, '--config', HISTOGRAM)
    arguments = dict(
        add=[photos / '3'], remove=[photos / 'north door' / 'IMG 1.JPG'], merge=[other]
    )[command]
    before = {path.name: path.read_bytes() for path in index.rglob('*') if path.is_file()}

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(versioned_folder.manifests, 'seal', interrupted)
        assert run_command(f'index {command}', [str(index), *map(str, arguments)]) == 130
    after = {path.name: path.read_bytes() for path in index.rglob('*') if path.is_file()}
    assert after == before
    call(f'index {command}', index, *arguments)
    assert len(Gallery.load(index)) == (3 if command == 'remove' else 5)


@pytest.mark.slow
def test_a_model_knows_the_names_of_its_training(photos, checkpoint, tmp_path):
    named = tmp_path / 'named.pth'
    content = torch.load(checkpoint, weights_only=False)
    names = dict(enumerate(['Hof – Süd', 'north door', 'x', 'y', 'z', 'gate']))
    content['meta']['dataset_meta'] = dict(camera_names=names)
    torch.save(content, named)
    shutil.rmtree(photos / '3')
    arguments = ['--cameras-from-folders', '--feature', 'transformer', '-o']
    call('index', photos, named, *arguments, tmp_path / 'known')
    message = failure('index', photos, checkpoint, *arguments, tmp_path / 'unknown')
    assert "is of the camera 'Hof – Süd', the model was trained with cameras 1 to 6" in message
    call('index', photos, checkpoint, *arguments, tmp_path / 'mean', '--mean-camera')
    image = str(photos / 'north door' / 'IMG 1.JPG')
    known, mean = (Gallery.load(tmp_path / name) for name in ('known', 'mean'))
    told, untold = (
        known.search(image, 4, query_camera_ids=[camera], ids=[image]).distances[0, 0]
        for camera in ('north door', -1)
    )
    assert told < 1e-3 < untold
    assert (
        mean.search(image, 4, query_camera_ids=['north door'], ids=[image]).distances[0, 0] < 1e-3
    )
    yard = write_image(photos / 'yard' / 'n.jpg')
    message = failure('index add', tmp_path / 'known', yard.parent, '--cameras-from-folders')
    assert (
        "of the camera 'yard', the model was trained with the cameras Hof – Süd, gate," in message
    )


def test_two_calibrations_are_none_of_a_merged_index(photos, index, tmp_path, capsys):
    own, more = Gallery.load(index), Gallery.load(index)
    people = torch.arange(4).repeat(5)
    torch.manual_seed(0)
    for gallery, spread in ((own, 0.1), (more, 0.2)):
        rows = torch.randn(4, own.spec.width)[people] + spread * torch.randn(20, own.spec.width)
        gallery.calibration = Calibration.fit(rows, people, spec=own.spec)
    own.save(index)
    more.remove([str(photos / 'north door' / 'IMG 1.JPG')])
    more.save(tmp_path / 'more')
    call('index merge', index, tmp_path / 'more', '--keep-first')
    assert f'its calibration is another one than that of {index}' in capsys.readouterr().out
    assert Gallery.load(index).calibration is None
    call('index merge', index, tmp_path / 'more', '--keep-first')
    assert 'its calibration is not taken' in capsys.readouterr().out


def test_features_of_a_table_keep_its_names(photos, tmp_path, capsys):
    out = tmp_path / 'a.safetensors'
    arguments = (photos / 'people.csv', '-o', out, '--config', HISTOGRAM)
    call('extract', *arguments, '--role', 'gallery')
    saved = read_extracted(out)
    assert [Path(path).name for path in saved.paths] == ['ä.jpeg', 'bild (2).PNG', 'b.jpg']
    assert saved.camera_names == {number_of(name): name for name in ('north door', 'Hof – Süd')}
    assert saved.camera_ids.tolist() == [*map(number_of, ('north door', 'Hof – Süd')), -1]
    assert saved.person_ids.tolist() == [number_of('Zoë'), number_of('Anna'), 12]
    gallery = Gallery()
    gallery.add(features=saved.features, paths=saved.paths)
    call('index', photos / 'people.csv', '-o', tmp_path / 'index', '--config', HISTOGRAM)
    (items,) = Gallery.load(tmp_path / 'index').item_blocks()
    assert items.camera_ids[1:] == saved.camera_ids.tolist()
    assert items.person_ids[1:] == saved.person_ids.tolist()
    call('extract', photos, '-o', out, '--config', HISTOGRAM, '--cameras-from-folders')
    assert set(read_extracted(out).camera_names.values()) == {'north door', 'Hof – Süd'}
    assert 2 in read_extracted(out).camera_ids
    message = failure('extract', *arguments, '--role', 'train')
    assert 'has no rows of the role train' in message
    assert 'its rows' in failure('extract', photos, *arguments[1:], '--role', 'query')
