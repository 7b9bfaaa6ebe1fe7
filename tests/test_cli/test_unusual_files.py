"""Folders that hold more than images: all commands take the same files and say what they leave."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from gallery_commands import HISTOGRAM, call, failure
from image_trees import write_image
from safetensors import safe_open

from fusionreid.cli.main import main, run_command
from fusionreid.errors import ConfigError
from fusionreid.gallery import Gallery

LONGEST = 60  # seconds that a command may take; one that waits at a pipe takes all of them
ESCAPE = '\x1b]0;owned\x07\u202e'


@pytest.fixture(autouse=True)
def _time_bound() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TimeoutError('the command waits for a file that is none')

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(LONGEST)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two images, and much that only looks like some."""
    folder = tmp_path / 'images'
    write_image(folder / '0001_c1.JPG', 1)
    outside = write_image(tmp_path / 'elsewhere' / 'linked.png', 2)
    (folder / '0002_c2.png').symlink_to(outside)
    (folder / 'loop').symlink_to(folder)
    os.mkfifo(folder / '0003_c1.jpg')
    (folder / '0004_c1.jpg').mkdir()
    (folder / 'gone.jpg').symlink_to(tmp_path / 'nothing')
    (folder / f'{ESCAPE}.gif').touch()
    return folder


SAID = [
    'not taken: 1 entries that are no regular file (a named pipe): 0003_c1.jpg',
    'not taken: 1 entries that are no regular file (a link that leads nowhere): gone.jpg',
    'not taken: 1 links to a folder that holds them: loop',
    r'not taken: 1 images of a format that is not read (.gif): \x1b]0;owned\x07\u202e.gif',
]


def check_said(capsys) -> str:
    captured = capsys.readouterr()
    for line in SAID:
        assert line in captured.err
    assert '\x1b' not in captured.out + captured.err
    return captured.out


def test_indexing_and_searching(folder, tmp_path, capsys):
    call('index', folder, '-o', tmp_path / 'index', '--config', HISTOGRAM)
    assert '2 images, 2 of them new' in check_said(capsys)
    assert str(folder / '0002_c2.png') in Gallery.load(tmp_path / 'index')
    call('search', tmp_path / 'index', folder, '-k', 1)
    assert check_said(capsys).count('query ') == 2
    message = failure('search', tmp_path / 'index', folder / '0003_c1.jpg')
    assert 'a named pipe, not a file' in message


def test_extracting(folder, tmp_path, capsys):
    out = tmp_path / 'features.safetensors'
    call('extract', folder, '-o', out, '--config', HISTOGRAM)
    check_said(capsys)
    with safe_open(out, framework='pt') as file:
        paths = json.loads(file.metadata()['paths'])
    assert [Path(path).name for path in paths] == ['0001_c1.JPG', '0002_c2.png']


def test_measuring(folder, capsys):
    few = ['--workers', '0', '--batches', '1', '--rounds', '1', '--batch-size', '2']
    call('benchmark dataloader', '--images', folder, *few)
    assert json.loads(check_said(capsys))['images'] == 'folder'


def test_names_are_shown_escaped_and_written_exactly(tmp_path, capsys):
    folder = tmp_path / 'images'
    name = f'{ESCAPE}\n=1+1.jpg'
    write_image(folder / name, 1)
    (folder / f'{ESCAPE}broken.jpg').write_bytes(b'no image')
    out = tmp_path / 'index'
    message = failure('index', folder, '-o', out, '--config', HISTOGRAM)
    assert '1 images, named above' in message
    call('search', out, folder / name, '-k', 1)
    shown = ''.join(capsys.readouterr())
    assert not any(each in shown for each in ('\x1b', '\x07', '\u202e'))
    assert r'\x1b]0;owned\x07\u202ebroken.jpg' in shown
    assert r'\u202e\n=1+1.jpg' in shown
    assert str(folder / name) in Gallery.load(out)


def test_messages_are_one_line_without_escape_sequences(tmp_path, monkeypatch, capsys):
    message = failure('index', f'{tmp_path}/{ESCAPE}\n', '-o', tmp_path / 'index')
    assert '\x1b' not in message
    assert r'\x1b]0;owned\x07\u202e\n' in message
    with pytest.raises(SystemExit):
        run_command('configs', [f'--{ESCAPE}'])
    assert main([ESCAPE]) == 2
    assert '\x1b' not in capsys.readouterr().err

    def run(args):
        raise ConfigError(f'the keys {ESCAPE}\n are unknown')

    monkeypatch.setattr('fusionreid.cli.configs.run', run)
    with pytest.raises(SystemExit) as stop:
        run_command('configs', [])
    assert stop.value.code == r'error: the keys \x1b]0;owned\x07\u202e\n are unknown'
