"""Runs that are killed around a validation, and what they leave after they are resumed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_runs import ROOT, render_tiny, write_tiny_config

from fusionreid.cli.main import run_command

pytestmark = pytest.mark.slow  # trains

# Scores that rise and fall, and a kill at the n-th call of a function.
KILLER = """
import os
import signal
from pathlib import Path

from mmengine.evaluator import Evaluator
from mmengine.hooks import CheckpointHook
from mmengine.runner import ValLoop
from mmengine.visualization import Visualizer

place = os.environ.get('KILLED_AT', '')
start = Path(os.environ['STARTS'])


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def before(owner, name, condition):
    original = getattr(owner, name)

    def killing(*args, **kwargs):
        if condition(*args, **kwargs):
            kill()
        return original(*args, **kwargs)

    setattr(owner, name, killing)


evaluate = Evaluator.evaluate


def scored(self, size):
    scores = evaluate(self, size)
    epoch = scored.runner.epoch
    scores['reid/mAP'] = {scores}[epoch - 1]
    with start.open('a') as file:
        file.write(f'{{epoch}}\\n')
    return scores


Evaluator.evaluate = scored
run = ValLoop.run


def running(self):
    scored.runner = self.runner
    return run(self)


ValLoop.run = running


def at(epoch):
    return scored.runner.epoch == epoch if hasattr(scored, 'runner') else False


def is_best(target, epoch):
    return str(target).endswith(f'best_reid_mAP_epoch_{{epoch}}.pth')


def is_checkpoint(target, epoch):
    return str(target).endswith(f'epoch_{{epoch}}.pth') and 'best' not in str(target)


kind, _, epoch = place.partition(':')
epoch = int(epoch or 0)
if kind == 'before validation':
    before(ValLoop, 'run', lambda self: self.runner.epoch == epoch)
elif kind == 'in validation':
    before(ValLoop, 'run_iter', lambda self, index, batch: index == 0 and self.runner.epoch == epoch)
elif kind == 'before the best':
    before(CheckpointHook, '_save_best_checkpoint', lambda self, runner, scores: runner.epoch == epoch)
elif kind == 'in the best':
    before(os, 'replace', lambda source, target: is_best(target, epoch))
elif kind == 'after the best':
    before(os, 'replace', lambda source, target: is_checkpoint(target, epoch) and at(epoch))
elif kind == 'before the removal':
    before(Path, 'unlink', lambda self, *args, **kwargs: is_best(self.name, epoch - 1) and at(epoch))
elif kind == 'before the record':
    import builtins
    before(builtins, 'open', lambda file, *a, **k: str(file).endswith('last_checkpoint') and at(epoch))
"""
SCORES = [0.3, 0.5, 0.4]  # the last one is not the best
FALLING = [0.5, 0.4, 0.3]
EPOCHS = 3


class Runs:
    """Trainings of one config in processes of their own, with given scores."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.config = write_tiny_config(
            folder,
            render_tiny(folder / 'data'),
            'r18_synthetic',
            extra="custom_imports['imports'].append('killer')\n"
            f"train_cfg['max_epochs'] = {EPOCHS}\n",
        )

    def train(self, run: Path, scores: list[float], place: str = '', *options: str) -> int:
        """Train, and give the exit status; the text is in ``run.txt``."""
        run.mkdir(exist_ok=True)
        modules = run / 'modules'
        modules.mkdir(exist_ok=True)
        (modules / 'killer.py').write_text(KILLER.format(scores=scores))
        environment = dict(
            os.environ,
            PYTHONPATH=f'{modules}:{ROOT}',
            OMP_NUM_THREADS='1',
            KILLED_AT=place,
            STARTS=str(run / 'scored'),
        )
        command = [sys.executable, 'tools/train.py', str(self.config), '--work-dir', str(run / 'w')]
        done = subprocess.run(
            [*command, *options],
            cwd=ROOT,
            env=environment,
            timeout=200,
            capture_output=True,
            text=True,
            check=False,
        )
        (run / 'run.txt').write_text(done.stdout + done.stderr)
        return done.returncode


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    return Runs(tmp_path_factory.mktemp('killed'))


@pytest.fixture(scope='module')
def unbroken(runs):
    """Work dirs of uninterrupted runs, by their scores."""
    found = {}
    for name, scores in (('rising', SCORES), ('falling', FALLING)):
        run = runs.folder / name
        assert runs.train(run, scores) == 0, (run / 'run.txt').read_text()[-3000:]
        found[name] = run / 'w'
    return found


def files(work_dir: Path) -> list[str]:
    return sorted(path.name for path in work_dir.iterdir() if path.is_file())


def content(work_dir: Path, name: str) -> dict:
    return torch.load(work_dir / name, weights_only=True)


def history(work_dir: Path) -> dict[int, float]:
    """The validation's scores of all starts, by epoch."""
    rows = [
        json.loads(line)
        for file in sorted(work_dir.glob('*/vis_data/scalars.json'))
        for line in file.read_text().splitlines()
    ]
    return {row['step']: row['reid/mAP'] for row in rows if 'reid/mAP' in row}


def assert_same_runs(first: Path, second: Path) -> None:
    assert files(first) == files(second)
    assert history(first) == history(second)
    assert Path((second / 'last_checkpoint').read_text()).name == Path(
        (first / 'last_checkpoint').read_text()
    ).name
    for name in (each for each in files(first) if each.endswith('.pth')):
        one, other = content(first, name), content(second, name)
        for key, value in one['state_dict'].items():
            assert torch.equal(value, other['state_dict'][key]), (name, key)
        infos = [each['message_hub']['runtime_info'] for each in (one, other)]
        for key in ('best_score', 'best_ckpt', 'last_ckpt', 'keep_ckpt_ids', 'scored_iter'):
            assert infos[0].get(key) == infos[1].get(key), (name, key)
        logs = [each['message_hub']['log_scalars'] for each in (one, other)]
        assert logs[0].keys() == logs[1].keys()
        for key in (each for each in logs[0] if 'mAP' in each or 'loss' in each):
            assert logs[0][key] == logs[1][key], (name, key)


PLACES = [
    ('rising', 'before validation:2', True),
    ('rising', 'in validation:2', True),
    ('rising', 'before the best:2', True),
    ('rising', 'in the best:2', True),
    ('rising', 'after the best:2', True),
    ('rising', 'before the removal:2', False),
    ('rising', 'before the record:2', False),
    ('rising', 'in the best:1', True),
    ('rising', 'before validation:3', True),
    ('rising', 'after the best:3', True),
    ('falling', 'before validation:2', True),
    ('falling', 'before validation:3', True),
    ('falling', 'after the best:3', True),
    ('falling', 'before the record:3', False),
]


@pytest.mark.parametrize(('scores', 'place', 'owed'), PLACES)
def test_a_run_killed_around_a_validation_ends_as_an_unbroken_one(
    scores, place, owed, runs, unbroken, tmp_path
):
    run = tmp_path / 'run'
    numbers = SCORES if scores == 'rising' else FALLING
    assert runs.train(run, numbers, place) == -signal.SIGKILL
    text = (run / 'run.txt').read_text()
    assert runs.train(run, numbers, '', '--resume') == 0, text[-3000:]
    text = (run / 'run.txt').read_text()
    assert ('was saved before its validation' in text) == owed
    for name in ('.part',):
        for path in run.glob(f'w/*{name}*'):
            path.unlink()  # of the killed run
    assert_same_runs(unbroken[scores], run / 'w')
    # A validation comes again only if nothing of it was saved.
    scored = [int(line) for line in (run / 'scored').read_text().split()]
    epoch = int(place.rpartition(':')[2])
    assert set(scored) == set(range(1, EPOCHS + 1))
    assert len(scored) <= EPOCHS + owed
    if not owed:
        assert scored.count(epoch) == 1
