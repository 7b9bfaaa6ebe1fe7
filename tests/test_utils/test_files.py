"""Files appear whole or not at all, and their checksums are those of the standard library."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import pytest
import torch
from full_disk import full_disk
from safetensors import safe_open
from safetensors.torch import load_file

from fusionreid.utils.files import atomic_path, file_sha256, open_atomic, save_tensors


def test_the_target_appears_at_the_end(tmp_path: Path):
    target = tmp_path / 'new' / 'folder' / 'file.txt'
    with atomic_path(target) as temporary:
        assert temporary.parent == target.parent
        temporary.write_text('content')
        assert not target.exists()
    assert target.read_text() == 'content'
    assert os.listdir(target.parent) == ['file.txt']


def test_a_failure_keeps_what_was_there(tmp_path: Path):
    target = tmp_path / 'file.txt'
    target.write_text('old')

    def fail() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text('half of the n')
            raise RuntimeError('interrupted')

    with pytest.raises(RuntimeError, match='interrupted'):
        fail()
    assert target.read_text() == 'old'
    assert os.listdir(tmp_path) == ['file.txt']


def test_a_file_that_was_never_written_is_an_error(tmp_path: Path):
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / 'file.txt'):
        pass
    assert os.listdir(tmp_path) == []


def test_an_open_file_replaces_the_target_when_it_is_closed(tmp_path: Path):
    target = tmp_path / 'file.bin'
    target.write_bytes(b'old')
    with open_atomic(target) as file:
        file.write(b'new')
        assert target.read_bytes() == b'old'
    assert target.read_bytes() == b'new'


def test_tensors_are_saved_with_their_metadata(tmp_path: Path):
    path = tmp_path / 'tensors.safetensors'
    tensors = {'a': torch.arange(6.0).view(2, 3).T, 'b': torch.tensor([1, 2], dtype=torch.int64)}
    save_tensors(path, tensors, {'format': 'test'})
    loaded = load_file(path)
    assert set(loaded) == set(tensors)
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())
    with safe_open(path, framework='pt') as file:
        assert file.metadata() == {'format': 'test'}
    save_tensors(path, {})
    assert load_file(path) == {}


def test_tensors_get_the_permissions_of_any_new_file(tmp_path: Path):
    (tmp_path / 'usual').touch()
    save_tensors(tmp_path / 'tensors.safetensors', {'a': torch.zeros(1)})
    modes = [
        stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ('usual', 'tensors.safetensors')
    ]
    assert modes[0] == modes[1]


def test_a_full_disk_is_an_os_error(tmp_path: Path):
    with full_disk(1 << 16), pytest.raises(OSError, match='large.safetensors cannot be written'):
        save_tensors(tmp_path / 'large.safetensors', {'a': torch.zeros(1 << 20)})


@pytest.mark.parametrize('size', [0, 1, (1 << 20) + 1])
def test_checksums_are_those_of_the_whole_content(tmp_path: Path, size: int):
    content = bytes(range(256)) * (size // 256) + b'\1' * (size % 256)
    (tmp_path / 'file').write_bytes(content)
    assert file_sha256(tmp_path / 'file') == hashlib.sha256(content).hexdigest()
