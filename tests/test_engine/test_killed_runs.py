"""Runs that are killed around a validation, and what is left after they are resumed."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import torch
from killed_training import train
from tiny_runs import render_tiny, write_tiny_config

pytestmark = pytest.mark.slow  # trains

EPOCHS = 3
SCORES = dict(rising=[0.3, 0.5, 0.4], falling=[0.5, 0.4, 0.3])


@pytest.fixture(scope='module')
def config(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('killed')
    return write_tiny_config(
        folder,
        render_tiny(folder / 'data'),
        'r18_synthetic',
        extra=f"train_cfg['max_epochs'] = {EPOCHS}\n",
    )


@pytest.fixture(scope='module')
def unbroken(config, tmp_path_factory) -> dict[str, Path]:
    """Work dirs of uninterrupted runs, by their scores."""
    folder = tmp_path_factory.mktemp('unbroken')
    for name, scores in SCORES.items():
        assert train(folder / name, [str(config)], scores) == 0, output(folder / name)
    return {name: folder / name / 'w' for name in SCORES}


def output(run: Path) -> str:
    return (run / 'output').read_text()


def files(work_dir: Path) -> list[str]:
    return sorted(
        path.name
        for path in work_dir.iterdir()
        if path.is_file() and not path.name.endswith('.part')
    )


def history(work_dir: Path) -> dict[int, float]:
    """The scores of all starts, by epoch."""
    rows = [
        json.loads(line)
        for file in sorted(work_dir.glob('*/vis_data/scalars.json'))
        for line in file.read_text().splitlines()
    ]
    return {row['step']: row['reid/mAP'] for row in rows if 'reid/mAP' in row}


def assert_same_runs(first: Path, second: Path) -> None:
    assert files(first) == files(second)
    assert history(first) == history(second)
    records = [(each / 'last_checkpoint').read_text() for each in (first, second)]
    assert Path(records[0]).name == Path(records[1]).name
    for name in (each for each in files(first) if each.endswith('.pth')):
        one, other = (torch.load(each / name, weights_only=True) for each in (first, second))
        for key, value in one['state_dict'].items():
            assert torch.equal(value, other['state_dict'][key]), (name, key)
        infos = [each['message_hub']['runtime_info'] for each in (one, other)]
        for key in ('best_score', 'best_ckpt', 'last_ckpt', 'keep_ckpt_ids', 'scored_iter'):
            assert infos[0].get(key) == infos[1].get(key), (name, key)
        logs = [each['message_hub']['log_scalars'] for each in (one, other)]
        assert logs[0].keys() == logs[1].keys()
        for key in (each for each in logs[0] if 'mAP' in each or 'loss' in each):
            assert logs[0][key] == logs[1][key], (name, key)


@pytest.mark.parametrize(
    ('scores', 'place', 'owed'),
    [
        ('rising', 'before validation:2', True),
        ('rising', 'in validation:2', True),
        ('rising', 'before the best:2', True),
        ('rising', 'in the best:1', True),
        ('rising', 'in the best:2', True),
        ('rising', 'before the scores:2', True),
        ('rising', 'before the record:2', False),
        ('rising', 'before the removal:2', False),
        ('rising', 'before the scores:3', True),
        ('falling', 'before validation:3', True),
        ('falling', 'before the scores:2', True),
        ('falling', 'before the record:3', False),
    ],
)
def test_a_run_killed_around_a_validation_ends_as_an_unbroken_one(
    scores, place, owed, config, unbroken, tmp_path
):
    run, numbers = tmp_path / 'run', SCORES[scores]
    assert train(run, [str(config)], numbers, place) == -signal.SIGKILL, output(run)
    assert train(run, [str(config), '--resume'], numbers) == 0, output(run)
    assert ('was saved before its validation' in output(run)) == owed
    assert_same_runs(unbroken[scores], run / 'w')
    # Scores that were saved are not computed again.
    scored = (run / 'scored').read_text().split()
    assert set(scored) == {str(epoch) for epoch in range(1, EPOCHS + 1)}
    assert len(scored) <= EPOCHS + owed


def test_a_finished_run_is_not_scored_again(config, unbroken, tmp_path):
    run = tmp_path / 'run'
    run.mkdir()
    (run / 'w').symlink_to(unbroken['falling'])
    before = {path.name: path.stat().st_mtime_ns for path in (run / 'w').glob('*.pth')}
    assert train(run, [str(config), '--resume'], SCORES['falling']) == 0, output(run)
    assert 'nothing to do' in output(run)
    assert not (run / 'scored').exists()
    assert {path.name: path.stat().st_mtime_ns for path in (run / 'w').glob('*.pth')} == before
