"""The commands on a gallery in PostgreSQL, as on one in a folder; and nothing shows a password."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import psycopg
import pytest
from gallery_commands import HISTOGRAM, call, failure, table_rows
from image_trees import write_image

from fusionreid.cli.main import run_command
from fusionreid.errors import GalleryError
from fusionreid.gallery import DatabaseAddress, Gallery

SECRET = 'hush-hush'


@pytest.fixture(scope='module')
def photos(data, tmp_path_factory) -> Path:
    """Some photos of each of a few people."""
    folder = tmp_path_factory.mktemp('photos') / 'photos'
    shutil.copytree(data / 'bounding_box_test', folder)
    return folder


def with_password(url: str) -> str:
    """The URL with a password, which the server of the tests does not ask for."""
    if '@' not in url or ':@' not in url:
        pytest.skip('the URL of the server has a password of its own')
    return url.replace(':@', f':{SECRET}@', 1)


@pytest.mark.slow
def test_every_command_works_on_a_database(photos, postgres, table, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    url = with_password(postgres)
    place = f'{url}#{table}'
    options = ('--engine', 'pgvector', '--config', HISTOGRAM)
    call('index', photos, '--url', place, *options)
    call('index', photos, '--url', url, *options, '--engine-options', f'table={table}')
    call('index', photos, '-o', 'folder', '--config', HISTOGRAM)
    printed = capsys.readouterr().out
    count = len(list(photos.glob('*.jpg')))
    assert f'{count} images, 0 of them new' in printed
    assert f'#{table}: {count} images, engine pgvector, ' in printed

    query = sorted(photos.glob('*.jpg'))[0]
    for index in (place, 'folder'):
        call(
            'search',
            index,
            query,
            '-k',
            5,
            '--other-cameras',
            '--json',
            'found.json',
            '-o',
            'a.png',
        )
        content = json.loads(Path('found.json').read_text())['queries'][0]
        if index == place:
            first = content
    assert [each['path'] for each in first['answers']] == [
        each['path'] for each in content['answers']
    ]
    call('calibrate', place, '--keep-same-camera', '-o', 'calibration.json')
    call('search', place, query, '--max-fpr', 0.1, '-k', 3)
    assert 'strangers as near' in capsys.readouterr().out
    call('group', place, '-o', 'people', '--max-fpr', 0.01)
    assert len(Path('people/photos.csv').read_text().splitlines()) == count + 1

    write_image(tmp_path / 'more' / 'new.png', 5)
    call('index add', place, 'more')
    call('index remove', place, photos / query.name)
    call('verify', place)
    printed = capsys.readouterr().out
    assert '1 images removed' in printed
    assert f'{count} images, engine pgvector' in printed
    call('gallery copy', place, 'copied', '--engine', 'faiss_flat')
    call('index merge', 'copied', 'folder', '--keep-first')
    call('index merge', place, 'folder', '--keep-first')
    assert f'{count} images have arrived, checksum' in capsys.readouterr().out
    assert len(Gallery.load('copied')) == len(Gallery.load(place)) == count + 1
    assert 'is a gallery already' in failure('gallery copy', 'folder', place)
    assert Gallery.load('copied').calibration is not None

    written = [path for path in tmp_path.rglob('*') if path.is_file()]
    assert written
    assert not [path for path in written if SECRET.encode() in path.read_bytes()]
    tables = psycopg.connect(postgres).execute(f'SELECT value FROM {table}_state').fetchall()
    assert SECRET not in str(tables)
    assert SECRET not in printed


def test_a_page_over_a_database_finds_what_others_add(
    photos, postgres, table, tmp_path, capsys, monkeypatch
):
    testclient = pytest.importorskip('starlette.testclient')
    pytest.importorskip('fastapi')
    served = []
    monkeypatch.setattr('fusionreid.serving.server.serve', lambda app, opened: served.append(app))
    place = f'{with_password(postgres)}#{table}'
    call('index', photos, '--url', place, '--config', HISTOGRAM)
    call('serve', place, '--port', 0)
    write_image(tmp_path / 'more' / 'new.png', 5)
    call('index add', place, tmp_path / 'more')
    with testclient.TestClient(served[0], base_url='http://127.0.0.1:8000') as client:
        described = client.get('/api/gallery')
        assert described.json()['name'] == table
        page = client.get('/')
        form = dict(files={'images': (tmp_path / 'more' / 'new.png').read_bytes()})
        found = client.post('/api/search', **form)
    answers = found.json()
    assert 'new.png' in str(answers)
    assert SECRET not in page.text + described.text + found.text + capsys.readouterr().out


@pytest.mark.slow
def test_videos_go_into_a_database(postgres, table, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    call('render-video', 'street', '--frames', 30, '--people', 2, '--height', 180)
    place = f'{postgres}#{table}'
    for _ in range(2):
        call('video', 'street', '--url', place, '--boxes', 'street/truth', '--config', HISTOGRAM)
    assert 'is in the index' in capsys.readouterr().out
    strips = list((tmp_path / f'{table}-tracklets').rglob('*_strip.jpg'))
    assert len(strips) == len(Gallery.load(place))
    call('search', place, strips[0].with_name(strips[0].name.replace('_strip', '')), '-k', 1)
    assert table_rows(capsys.readouterr().out)[0][2].startswith('camera_')


def test_a_folder_may_point_at_a_table(postgres, table, tmp_path, photos):
    """What lands on the disk has no password; who has names and calibration is the database."""
    url = with_password(postgres)
    engine = dict(type='pgvector', url=url, table=table)
    from fusionreid.apis import FeatureExtractor

    gallery = Gallery(FeatureExtractor(None, HISTOGRAM), engine)
    gallery.add([str(path) for path in sorted(photos.glob('*.jpg'))[:4]], camera_ids=['door'] * 4)
    gallery.save(tmp_path / 'index')
    assert SECRET not in (tmp_path / 'index' / 'gallery.json').read_text()
    again = Gallery.load(tmp_path / 'index')
    again.add([str(sorted(photos.glob('*.jpg'))[5])], camera_ids=['yard'])
    third = Gallery.load(tmp_path / 'index')
    assert len(third) == len(gallery) == 5
    assert {*gallery.camera_names.values()} == {*third.camera_names.values()} == {'door', 'yard'}
    assert gallery.search(str(sorted(photos.glob('*.jpg'))[5]), 1, cameras=['yard']).counts == [1]
    with pytest.raises(GalleryError, match='is not where this gallery is'):
        gallery.save(f'{url}#{table}_other')


@pytest.mark.parametrize(
    ('url', 'shown'),
    [
        ('postgresql://anna:%s@db/team', 'postgresql://anna@db/team#people'),
        ('postgresql://anna:%s@db:1/team?sslmode=require', '//anna@db:1/team?sslmode=require#'),
        ('postgresql://db/team?password=%s&user=anna', '//db/team?user=anna#'),
        ('postgres://anna:%s@/team?host=/run/pg&sslpassword=%s', '//anna@/team?host=/run/pg#'),
    ],
)
def test_an_address_shows_no_password(url, shown):
    address = DatabaseAddress(url.replace('%s', SECRET))
    for text in (str(address), repr(address), f'{address}', address.hide(f'FATAL: {SECRET}')):
        assert SECRET not in text
    assert shown in str(address)


@pytest.mark.parametrize(
    'url',
    [
        f'postgresql://anna:{SECRET}@x@127.0.0.1:9/team',
        f'postgresql://anna:{SECRET}/x@127.0.0.1:9/team',
        f'postgresql://anna:{SECRET}?x@127.0.0.1:9/team',
        f'postgresql://anna:{SECRET}#x@127.0.0.1:9/team',
        f'postgresql://anna:{SECRET}%zz@127.0.0.1:9/team',
        f'postgresql://anna:{SECRET}@127.0.0.1:port/team',
        f'postgresql://anna:{SECRET}@127.0.0.1:9/team',
        f'postgresql://127.0.0.1:9/team?password={SECRET}&nonsense=1',
        f'postgresql://anna:{SECRET}@127.0.0.1:9/team#a.b.c',
        f'postgresql://anna:{SECRET}@127.0.0.1:9/team#{"x" * 41}',
    ],
)
@pytest.mark.parametrize('command', ['search', 'calibrate', 'group', 'index', 'video'])
def test_no_message_shows_a_password(url, command, tmp_path, capsys):
    arguments = {
        'search': [url, 'a.jpg'],
        'calibrate': [url],
        'group': [url, '-o', str(tmp_path / 'people')],
        'index': [str(tmp_path), '--url', url, '--config', str(HISTOGRAM)],
        'video': [str(tmp_path), '--boxes', 'x', '--url', url],
    }
    write_image(tmp_path / 'a.jpg')
    with pytest.raises(SystemExit) as stop:
        run_command(command, arguments[command])
    printed = capsys.readouterr()
    said = f'{stop.value} {printed.out} {printed.err}'
    assert SECRET not in said
    assert 'error: ' in said


def test_databases_are_named_as_such(tmp_path, capsys):
    for arguments, message in (
        (['--url', 'team'], 'a database has the form'),
        (['--url', 'postgresql:///team', '--engine', 'exact'], 'is pgvector, not exact'),
        (['--url', 'postgresql:///t', '--engine-options', 'url=x'], 'named by --url already'),
        ([], 'one of the arguments -o/--out --url is required'),
    ):
        with pytest.raises(SystemExit):
            run_command('index', [str(tmp_path), *arguments])
        assert message in capsys.readouterr().err
