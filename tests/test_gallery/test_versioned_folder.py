"""A save that is interrupted, at whatever step, leaves the old index whole or the new one."""

from __future__ import annotations

import os
import shutil
import signal
import textwrap
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from full_disk import full_disk
from warm_processes import run

from fusionreid.errors import GalleryError
from fusionreid.gallery import Gallery
from fusionreid.gallery.versioned_folder import load_generation, read_manifest, save_generation

IVFPQ = dict(type='faiss_ivfpq', exact_below=256, lists=4, code_bytes=2)
# The steps of a save that reach the disk.
STEPS = [(os, 'fsync'), (os, 'replace'), (os, 'mkdir'), (shutil, 'rmtree')]


def small_gallery(count: int, engine: str | dict = 'exact') -> Gallery:
    gallery = Gallery(engine=engine)
    gallery.add(
        features=torch.eye(300, 8)[:count] + torch.arange(count)[:, None] / 300, ids=range(count)
    )
    return gallery


class FullDisk:
    """Lets some calls through and fails all that follow."""

    def __init__(self, patch: pytest.MonkeyPatch, passing: int) -> None:
        self.passing, self.calls = passing, 0
        for module, name in STEPS:
            patch.setattr(module, name, partial(self.call, getattr(module, name)))

    def call(self, real: Callable, *args: Any, **settings: Any) -> Any:
        self.calls += 1
        if self.calls > self.passing:
            raise OSError('the disk is full')
        return real(*args, **settings)


def test_failures_at_every_step(tmp_path, monkeypatch):
    old, new = small_gallery(260, IVFPQ), small_gallery(270, IVFPQ)
    index = tmp_path / 'index'
    old.save(index)
    outcomes = []
    for step in range(100):
        with monkeypatch.context() as patch:
            disk = FullDisk(patch, step)
            reason = None
            try:
                new.save(index, overwrite=True)
            except GalleryError as error:
                reason = str(error)
        assert reason is None or 'the disk is full' in reason
        outcomes.append(len(Gallery.load(index)))
        assert outcomes[-1] in (260, 270)
        if reason is None and disk.calls <= step:
            break
    assert outcomes[0] == 260
    assert outcomes[-1] == 270
    assert len(outcomes) > 6
    assert outcomes == sorted(outcomes)
    old.save(index, overwrite=True)
    assert len(Gallery.load(index)) == 260
    assert len(list(index.glob('generation-*'))) == 1  # nothing is left of the failures


@pytest.mark.parametrize(
    ('engine', 'limit', 'file'),
    [
        ('exact', 1_000, ''),
        ('exact', 9_000, 'features.safetensors'),
        (IVFPQ, 10_000, 'File too large'),
    ],
)
def test_a_disk_that_is_really_full(tmp_path, engine, limit, file):
    small_gallery(20, engine).save(tmp_path / 'index')
    message = f'index cannot be saved: .*{file}'
    with full_disk(limit), pytest.raises(GalleryError, match=message):
        small_gallery(300, engine).save(tmp_path / 'index', overwrite=True)
    assert len(Gallery.load(tmp_path / 'index')) == 20
    assert len(list((tmp_path / 'index').glob('generation-*'))) == 1


def test_folders_of_somebody_else_stay(tmp_path):
    theirs = tmp_path / 'taken' / 'generation-1'
    theirs.mkdir(parents=True)
    with pytest.raises(GalleryError, match='no index and not empty .it holds generation-1'):
        small_gallery(20).save(tmp_path / 'taken')
    small_gallery(20).save(tmp_path / 'index')
    theirs = theirs.rename(tmp_path / 'index' / 'generation-1')
    small_gallery(30).save(tmp_path / 'index', overwrite=True)
    assert theirs.is_dir()
    assert len(Gallery.load(tmp_path / 'index')) == 30


@pytest.mark.parametrize('content', ['{"format": "another"}', '{"format":', ''])
def test_a_manifest_that_cannot_be_read_is_not_replaced_unasked(tmp_path, content):
    small_gallery(20).save(tmp_path / 'index')
    (tmp_path / 'index' / 'gallery.json').write_text(content)
    with pytest.raises(GalleryError, match='nothing was saved'):
        small_gallery(30).save(tmp_path / 'index')
    assert (tmp_path / 'index' / 'gallery.json').read_text() == content
    small_gallery(30).save(tmp_path / 'index', overwrite=True)
    assert len(Gallery.load(tmp_path / 'index')) == 30


def test_a_save_that_failed_late_can_be_tried_again(tmp_path, monkeypatch):
    gallery = small_gallery(20)
    for step in range(20):
        with monkeypatch.context() as patch:
            disk = FullDisk(patch, step)
            reason = None
            try:
                gallery.save(tmp_path / 'index')
            except GalleryError as error:
                reason = str(error)
        # And not that the index is another's.
        assert reason is None or 'the disk is full' in reason
        if disk.calls <= step:
            break
    gallery.save(tmp_path / 'index')
    assert step > 4
    assert len(Gallery.load(tmp_path / 'index')) == 20


@pytest.mark.slow
def test_a_process_killed_while_it_saves(tmp_path):
    """SIGKILL at each fsync in turn, the way a crash or a power cut ends a save."""
    index = tmp_path / 'index'
    small_gallery(20).save(index)
    script = textwrap.dedent("""
        import os, pathlib, shutil, signal, sys
        sys.path[:0] = [sys.argv[1], os.path.join(os.path.dirname(sys.argv[1]), 'helpers')]
        from test_versioned_folder import small_gallery
        new = small_gallery(30)
        real, rounds = {}, int(sys.argv[3])
        # Each child dies one step later than the one before.
        for step in range(rounds):
            child = os.fork()
            if child == 0:
                calls = 0
                def counted(name):
                    def call(*args, **settings):
                        global calls
                        if calls == step:
                            os.kill(os.getpid(), signal.SIGKILL)
                        calls += 1
                        return real[name](*args, **settings)
                    return call
                for name in ('fsync', 'replace', 'rmdir', 'unlink'):
                    real[name] = getattr(os, name)
                    setattr(os, name, counted(name))
                new.save(sys.argv[2], overwrite=True)
                os._exit(0)
            status = os.waitpid(child, 0)[1]
            from fusionreid.gallery import Gallery
            print(os.WTERMSIG(status), len(Gallery.load(sys.argv[2])), flush=True)
            if status == 0:
                break
    """)
    printed = tmp_path / 'printed.txt'
    arguments = ['-c', script, Path(__file__).parent, index, 40]
    assert run(arguments, printed, OMP_NUM_THREADS=1) == 0, printed.read_text()
    outcomes = [tuple(map(int, line.split())) for line in printed.read_text().splitlines()]
    killed = [size for status, size in outcomes if status == signal.SIGKILL]
    assert len(killed) >= 5
    assert set(killed) == {20, 30}
    assert killed == sorted(killed)
    assert outcomes[-1] == (0, 30)
    assert len(list(index.glob('generation-*'))) == 1


def test_two_processes_do_not_save_at_once(tmp_path):
    index = tmp_path / 'index'
    small_gallery(20).save(index)

    def save_again(folder: Path) -> None:
        with pytest.raises(GalleryError, match='another process is saving'):
            small_gallery(5).save(index)
        (folder / 'content').touch()

    save_generation(index, {}, save_again, set(), overwrite=True)


def test_a_reader_that_is_overtaken_reads_the_newer_state(tmp_path):
    index = tmp_path / 'index'
    own: set[str] = set()
    save_generation(index, dict(number=1), lambda folder: (folder / 'content').write_text('1'), own)
    seen = []

    def read(manifest: dict, folder: Path) -> str:
        seen.append(manifest['number'])
        if len(seen) == 1:
            save_generation(
                index, dict(number=2), lambda folder: (folder / 'content').write_text('2'), own
            )
        return (folder / 'content').read_text()

    assert load_generation(index, read) == '2'
    assert seen == [1, 2]


def test_a_gallery_can_be_saved_over_the_files_that_it_reads_from(tmp_path):
    index = tmp_path / 'index'
    small_gallery(20).save(index)
    for _ in range(3):
        gallery = Gallery.load(index)
        gallery.save(index)
    assert gallery.search(torch.eye(8)[:1], 1).ids.tolist() == [['0']]
    assert read_manifest(index)['items'] == 20
