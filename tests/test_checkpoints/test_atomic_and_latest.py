from __future__ import annotations

import os

import pytest
import torch
from mmengine.fileio import get_file_backend
from reference_state import reference_state

from fusionreid.checkpoints import find_resumable
from fusionreid.checkpoints.release import convert_original_state


def test_backend_writes_whole_files(tmp_path):
    backend = get_file_backend(str(tmp_path), backend_args=dict(backend='atomic_local'))
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


def test_latest_readable_checkpoint(tmp_path, caplog):
    assert find_resumable(tmp_path) is None
    for epoch in (2, 9, 10):
        torch.save(dict(meta=dict(epoch=epoch)), tmp_path / f'epoch_{epoch}.pth')
    torch.save({}, tmp_path / 'best_reid_mAP_epoch_99.pth')
    torch.save({}, tmp_path / 'iter_10.pth')
    torch.save({}, tmp_path / 'iter_2000.pth')
    assert find_resumable(tmp_path).name == 'epoch_10.pth'
    content = (tmp_path / 'epoch_10.pth').read_bytes()
    (tmp_path / 'epoch_10.pth').write_bytes(content[: len(content) // 2])
    assert find_resumable(tmp_path).name == 'epoch_9.pth'
    (tmp_path / 'last_checkpoint').write_text('/moved/elsewhere/epoch_10.pth')
    assert find_resumable(tmp_path).name == 'epoch_9.pth'


def test_original_names_that_are_unknown_are_named():
    state = reference_state('r50_only')
    state['detector.rpn.weight'] = torch.zeros(1)
    with pytest.raises(KeyError, match=r'resnet\.detector\.rpn\.weight|detector\.rpn\.weight'):
        convert_original_state(state)
