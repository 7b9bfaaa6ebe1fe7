from __future__ import annotations

import os

import pytest
from mmengine.fileio import get_file_backend

from fusionreid.workarounds.atomic_backend import AtomicLocalBackend


def test_backend_writes_whole_files(tmp_path):
    backend = get_file_backend(str(tmp_path), backend_args=dict(backend='atomic_local'))
    assert isinstance(backend, AtomicLocalBackend)
    target = tmp_path / 'folder' / 'epoch_1.pth'
    backend.put(b'old', target)
    backend.put(b'new', target)
    assert target.read_bytes() == b'new'
    assert os.listdir(target.parent) == ['epoch_1.pth']


def test_backend_keeps_the_old_file_when_writing_fails(tmp_path, monkeypatch):
    backend = get_file_backend(str(tmp_path), backend_args=dict(backend='atomic_local'))
    target = tmp_path / 'epoch_1.pth'
    backend.put(b'old', target)

    def killed(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, 'fsync', killed)
    with pytest.raises(KeyboardInterrupt):
        backend.put(b'new', target)
    assert target.read_bytes() == b'old'
    assert os.listdir(tmp_path) == ['epoch_1.pth']
