from __future__ import annotations

import torch

from fusionreid.checkpoints import find_resumable


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
