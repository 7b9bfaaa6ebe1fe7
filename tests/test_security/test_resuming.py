"""What a checkpoint can delete or run when a training is resumed from it."""

from __future__ import annotations

import shutil
from contextlib import ExitStack

import pytest
import torch
from mmengine.config import Config
from tiny_runs import render_tiny, write_tiny_config

from fusionreid.cli.main import run_command
from fusionreid.cli.run_folder import take_folder
from fusionreid.engine.hooks.safe_checkpoint_hook import confine

# The scores of a model of noise; every later epoch is a better one.
LOW = dict(best_score=-1.0)


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    """Config and work dir of a run of two epochs."""
    folder = tmp_path_factory.mktemp('resuming')
    config = write_tiny_config(folder, render_tiny(folder / 'data'), 'r18_synthetic')
    first = folder / 'first'
    run_command('train', [str(config), '--work-dir', str(first)])
    return config, first


def craft(source, target, change):
    """Write a changed copy of a checkpoint."""
    content = torch.load(source, weights_only=True)
    change(content)
    torch.save(content, target)


@pytest.mark.slow
def test_checkpoints_hold_names_instead_of_paths(finished):
    _, first = finished
    for epoch in (1, 2):
        content = torch.load(first / f'epoch_{epoch}.pth', weights_only=True)
        info = content['message_hub']['runtime_info']
        assert info['last_ckpt'] == f'epoch_{epoch}.pth'
        assert info['best_ckpt'].startswith('best_reid_mAP_epoch_')
    assert (first / info['best_ckpt']).is_file()


@pytest.mark.slow
def test_a_copied_run_leaves_the_first_one_alone(finished, tmp_path):
    config, first = finished
    copied = tmp_path / 'copied'
    shutil.copytree(first, copied)
    (copied / 'epoch_2.pth').unlink()
    (best,) = first.glob('best_*.pth')
    # As MMEngine alone writes it, and as older checkpoints have it.
    change = dict(best_ckpt=str(best), last_ckpt=str(first / 'epoch_1.pth'), **LOW)
    craft(
        first / 'epoch_1.pth',
        copied / 'epoch_1.pth',
        lambda content: content['message_hub']['runtime_info'].update(change),
    )
    before = {path.name: path.stat().st_mtime_ns for path in first.glob('*.pth')}
    run_command('train', [str(config), '--work-dir', str(copied), '--resume'])
    assert {path.name: path.stat().st_mtime_ns for path in first.glob('*.pth')} == before
    assert (copied / 'epoch_2.pth').is_file()


@pytest.mark.parametrize('key', ['best_ckpt', 'best_ckpt_reid/mAP', 'last_ckpt'])
@pytest.mark.parametrize('kind', ['file', 'folder', 'relative', 'link'])
def test_no_path_in_a_checkpoint_is_removed(kind, key, tmp_path):
    work_dir = tmp_path / 'work'
    work_dir.mkdir()
    victim = tmp_path / 'victim'
    victim.mkdir()
    (victim / 'best_a.pth').write_text('precious')
    (work_dir / 'notes.txt').write_text('precious')
    path = {
        'file': str(victim / 'best_a.pth'),
        'folder': str(victim),
        'relative': '../victim/best_a.pth',
        'link': 'notes.txt' if key != 'last_ckpt' else '..',
    }[kind]
    kept, set_aside = confine({key: path, 'epoch': 1}, work_dir)
    assert kept == {'epoch': 1}
    assert set_aside == [key]


@pytest.mark.parametrize('score', ['high', None, float('nan'), [1.0]])
def test_a_best_score_that_cannot_be_compared_is_set_aside(score, tmp_path):
    assert confine({'best_score': score}, tmp_path) == ({}, ['best_score'])
    assert confine({'best_score': 0.5}, tmp_path) == ({'best_score': 0.5}, [])


@pytest.mark.parametrize('overwrite', [True, False])
def test_nothing_of_another_run_is_deleted(overwrite, tmp_path):
    (tmp_path / 'victim').mkdir()
    (tmp_path / 'victim' / 'precious.txt').write_text('precious')
    work_dir = tmp_path / 'run'
    work_dir.mkdir()
    # Names of ours that lead elsewhere.
    links = ['epoch_1.pth.7.part', 'interrupted_after_epoch_1.pth.7.part', '20260101_000000']
    links += ['epoch_1.pth', 'last_checkpoint'] if overwrite else []
    for name in links:
        (work_dir / name).symlink_to(tmp_path / 'victim')
    (work_dir / 'notes.txt.7.part').write_text('precious')
    cfg = Config(dict(work_dir=str(work_dir)))
    with ExitStack() as stack:
        take_folder(cfg, None, resume=False, overwrite=overwrite, stack=stack)
    assert (tmp_path / 'victim' / 'precious.txt').read_text() == 'precious'
    assert (work_dir / 'notes.txt.7.part').is_file()
    kept = {path.name for path in work_dir.rglob('*') if path.is_symlink()}
    assert kept == set(links)


@pytest.mark.slow
def test_a_crafted_checkpoint_neither_deletes_nor_runs_anything(finished, tmp_path, capfd):
    config, first = finished
    victim, flag = tmp_path / 'victim', tmp_path / 'ran'
    victim.mkdir()
    (victim / 'best_a.pth').write_text('precious')

    def change(content):
        content['message_hub']['runtime_info'].update(
            LOW, best_ckpt=str(victim), keep_ckpt_ids=['/../../victim/best_a', 1, 2]
        )
        content['meta']['config'] = f"open({str(flag)!r}, 'w')\ngpu_ids = [0]\n"

    craft(first / 'epoch_1.pth', tmp_path / 'crafted.pth', change)
    work_dir = tmp_path / 'work'
    run_command(
        'train',
        [str(config), '--work-dir', str(work_dir), '--resume', str(tmp_path / 'crafted.pth')],
    )
    assert (victim / 'best_a.pth').read_text() == 'precious'
    assert not flag.exists()
    assert (work_dir / 'epoch_2.pth').is_file()
    (log,) = work_dir.glob('*/*.log')
    lines = [line for line in log.read_text().splitlines() if 'set aside' in line]
    assert any('best_ckpt' in line and 'keep_ckpt_ids' in line for line in lines)
    assert any(
        'meta.config is set aside' in line for line in lines + capfd.readouterr().err.splitlines()
    )


@pytest.mark.slow
def test_the_hook_is_there_for_every_config(finished, tmp_path):
    config, first = finished
    text = config.read_text().replace("dict(type='SafeCheckpointHook'),", '')
    assert 'SafeCheckpointHook' not in text
    bare = tmp_path / 'bare.py'
    bare.write_text(text)
    victim = tmp_path / 'best_a.pth'
    victim.write_text('precious')
    change = dict(best_ckpt=str(victim), **LOW)
    craft(
        first / 'epoch_1.pth',
        tmp_path / 'crafted.pth',
        lambda content: content['message_hub']['runtime_info'].update(change),
    )
    work_dir = tmp_path / 'work'
    run_command(
        'train', [str(bare), '--work-dir', str(work_dir), '--resume', str(tmp_path / 'crafted.pth')]
    )
    assert victim.read_text() == 'precious'
    assert list(work_dir.glob('best_*.pth'))
