"""What the machine refuses ends in one line; the machine really refuses it."""

from __future__ import annotations

import errno
import io
import logging
import os
import signal
import threading
from pathlib import Path

import pytest
import torch
from full_disk import full_disk
from tiny_runs import refused
from torch.utils.data import DataLoader, Dataset

from fusionreid.cli import configs
from fusionreid.cli.environment_errors import describe_environment_error
from fusionreid.cli.main import run_command
from fusionreid.utils.files import open_atomic


class Killed(Dataset):
    """Items whose worker is killed, as the system does when memory runs out."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return index


@pytest.fixture
def failing(monkeypatch):
    """Let a command do something, and return the line in which it ends."""

    def run_and_fail(work) -> str:
        monkeypatch.setattr(configs, 'run', lambda args: work())
        line = refused('configs', [])
        assert '\n' not in line
        return line

    return run_and_fail


def test_a_killed_worker(failing):
    line = failing(lambda: list(DataLoader(Killed(), num_workers=1, timeout=60)))
    assert 'DataLoader worker (pid' in line
    assert 'lower num_workers' in line


def test_memory_that_is_not_there(failing):
    line = failing(lambda: torch.empty(2**46, dtype=torch.uint8))
    assert 'the memory does not suffice' in line
    assert 'lower the batch size' in line


@pytest.mark.parametrize(
    'error',
    [
        MemoryError(),
        torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a ...'),
    ],
)
def test_other_words_for_memory(error):
    line = describe_environment_error(error)
    assert 'the memory does not suffice' in line
    assert 'out of memory' in line


def fill(path: Path) -> None:
    with open(path, 'wb', buffering=0) as file:
        while True:
            file.write(bytes(10_000))


def fill_atomically(path: Path) -> None:
    with open_atomic(path) as file:
        file.write(bytes(100_000))


def fill_log(path: Path) -> None:
    logger = logging.Logger('full')
    logger.addHandler(logging.FileHandler(path))
    try:
        while True:
            logger.info('x' * 10_000)
    finally:
        # The rest in the buffer cannot be written either.
        logger.handlers[0].stream = io.StringIO()


@pytest.mark.parametrize('write', [fill, fill_atomically, fill_log])
def test_a_full_disk_names_the_file(write, failing, tmp_path):
    with full_disk(50_000):
        line = failing(lambda: write(tmp_path / 'epoch_1.pth'))
    assert line.startswith(f'error: {tmp_path / "epoch_1.pth"}')
    assert os.strerror(errno.EFBIG) in line
    assert 'choose another folder' in line


def test_permissions_and_files_in_the_way(failing, tmp_path):
    (tmp_path / 'file').touch()
    line = failing(lambda: (tmp_path / 'file' / 'log').mkdir())
    assert f'{tmp_path / "file" / "log"}: Not a directory' in line
    line = failing(lambda: Path('/proc/version').write_text('x'))
    assert '/proc/version: ' in line
    assert 'choose another folder' in line


def test_a_thread_that_cannot_write_is_no_traceback(monkeypatch, capsys):
    def write(args):
        thread = threading.Thread(target=lambda: Path('/dev/full').write_text('x'))
        thread.start()
        thread.join()

    monkeypatch.setattr(configs, 'run', write)
    assert run_command('configs', []) == 0
    shown = capsys.readouterr().err
    assert shown.startswith('error: ')
    assert os.strerror(errno.ENOSPC) in shown
    assert len(shown.splitlines()) == 1


@pytest.mark.parametrize(
    'error',
    [ZeroDivisionError(), OSError('no number'), RuntimeError('a mistake'), KeyError('width')],
)
def test_mistakes_are_none_of_these(error):
    assert describe_environment_error(error) is None


def test_the_traceback_can_be_had(monkeypatch, tmp_path):
    monkeypatch.setenv('FUSIONREID_TRACEBACK', '1')
    monkeypatch.setattr(configs, 'run', lambda args: (tmp_path / 'missing').rmdir())
    with pytest.raises(FileNotFoundError):
        run_command('configs', [])
