"""Trainings that are stopped by real signals, and what resuming them gives."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop
from tiny_runs import ROOT, refused, write_tiny_config
from warm_processes import WarmProcess, run_ranks

from fusionreid.cli.main import run_command
from fusionreid.registry import HOOKS, LOOPS

pytestmark = pytest.mark.slow  # trains

# It has what resuming must keep: drop path, and statistics of batch norms.
MODEL = 'vittiny_synthetic'
EXTRA = dict(
    plain='',
    # Running averages of the weights, exchanged with them in validations.
    ema="custom_hooks.append(dict(type='EMAHook', momentum=0.01))\n",
    # The update comes after three batches, and after what is left of an epoch.
    accumulating='optim_wrapper["accumulative_counts"] = 3\n',
    # A sampler that gives no seeds: augmentation draws from the global generators.
    unseeded="train_dataloader['sampler'] = dict(type='DefaultSampler', shuffle=True)\n",
)


@HOOKS.register_module(force=True)
class SendSignal(Hook):
    """Signals its own process during a step of training, or in the validation after an epoch."""

    def __init__(self, number: int, iteration: int = -1, validation: int = -1) -> None:
        self.number, self.iteration, self.validation = number, iteration, validation

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.iteration:
            os.kill(os.getpid(), self.number)

    def before_val_iter(self, runner, batch_idx, data_batch=None):
        if runner.epoch == self.validation:
            os.kill(os.getpid(), self.number)


@LOOPS.register_module(force=True)
class OtherLoop(EpochBasedTrainLoop):
    """A loop that knows nothing of interruptions."""


@pytest.fixture(scope='module')
def straight(data, tmp_path_factory):
    """Configs and work dirs of uninterrupted runs, made when they are asked for."""
    runs: dict[str, tuple[Path, Path]] = {}

    def run(name: str) -> tuple[Path, Path]:
        if name not in runs:
            folder = tmp_path_factory.mktemp(name)
            config = write_tiny_config(folder, data, MODEL, extra=EXTRA[name])
            assert run_command('train', [str(config), '--work-dir', str(folder / 'run')]) == 0
            runs[name] = config, folder / 'run'
        return runs[name]

    return run


def signaling(config: Path, folder: Path, *signals: dict) -> Path:
    """Write a config that trains like another one and signals itself."""
    hooks = ''.join(f'custom_hooks.append(dict(type="SendSignal", **{each}))\n' for each in signals)
    path = folder / 'signaling.py'
    path.write_text(f'{config.read_text()}\n{hooks}')
    return path


def assert_same_training(first: Path, second: Path) -> None:
    """Compare weights, optimizer and running averages to the bit."""
    first, second = (torch.load(path, weights_only=True) for path in (first, second))
    for part in ('state_dict', 'ema_state_dict'):
        assert first.get(part, {}).keys() == second.get(part, {}).keys()
        for name, value in first.get(part, {}).items():
            assert torch.equal(value, second[part][name]), name
    for number, state in first['optimizer']['state'].items():
        for key, value in state.items():
            assert torch.equal(value, second['optimizer']['state'][number][key]), (number, key)
    assert first['param_schedulers'] == second['param_schedulers']
    assert first['meta']['iter'] == second['meta']['iter']


@pytest.mark.parametrize(
    ('name', 'where', 'finished', 'said'),
    [
        ('plain', dict(validation=1), 1, 'during the validation after epoch 1'),
        ('ema', dict(iteration=4), 0, 'in epoch 1 after 5 of 11 batches'),
        ('ema', dict(validation=1), 1, 'during the validation after epoch 1'),
        ('accumulating', dict(iteration=15), 1, 'in epoch 2 after 6 of 9 batches'),
        ('unseeded', dict(iteration=5), 0, 'in epoch 1 after 6 of'),
    ],
)
def test_a_stopped_training_is_resumed_to_the_bit(
    name, where, finished, said, straight, tmp_path, capsys
):
    config, uninterrupted = straight(name)
    stopping = signaling(config, tmp_path, dict(number=int(signal.SIGTERM), **where))
    run = tmp_path / 'run'
    before = signal.getsignal(signal.SIGTERM)
    assert run_command('train', [str(stopping), '--work-dir', str(run)]) == 143
    saved = run / f'interrupted_after_epoch_{finished}.pth'
    assert not torch.serialization.get_unsafe_globals_in_checkpoint(saved)
    (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
    assert said in line
    assert f'saved in {saved}: to continue it, run the same command with --resume' in line
    assert signal.getsignal(signal.SIGTERM) == before
    assert run_command('train', [str(config), '--work-dir', str(run), '--resume']) == 0
    assert_same_training(run / 'epoch_2.pth', uninterrupted / 'epoch_2.pth')
    assert not list(run.glob('interrupted_*'))


def test_a_training_can_be_stopped_again_and_again(straight, tmp_path, capsys):
    config, uninterrupted = straight('plain')
    run = tmp_path / 'run'
    # With the tenth, all batches of an epoch are done; what comes at its end is not.
    for iteration in (2, 3, 10, 17):
        stopping = signaling(config, tmp_path, dict(number=int(signal.SIGINT), iteration=iteration))
        assert run_command('train', [str(stopping), '--work-dir', str(run), '--resume']) == 130
        assert len(list(run.glob('interrupted_*'))) == 1
    assert 'in epoch 2 after 7 of 9 batches' in capsys.readouterr().err
    assert run_command('train', [str(config), '--work-dir', str(run), '--resume']) == 0
    assert_same_training(run / 'epoch_2.pth', uninterrupted / 'epoch_2.pth')


def test_a_training_by_iteration_is_stopped_too(data, tmp_path):
    settings = (
        'train_cfg = dict(by_epoch=False, max_iters=6, val_interval=6)\n'
        "param_scheduler = dict(type='PolyLR', eta_min=1e-5, begin=0, end=6, by_epoch=False)\n"
        'default_hooks["checkpoint"].update(by_epoch=False, interval=6)\n'
    )
    config = write_tiny_config(tmp_path, data, MODEL, extra=settings)
    stopping = signaling(config, tmp_path, dict(number=int(signal.SIGTERM), iteration=3))
    run = tmp_path / 'run'
    assert run_command('train', [str(stopping), '--work-dir', str(run)]) == 143
    assert (run / 'iter_4.pth').is_file()
    assert run_command('train', [str(config), '--work-dir', str(run), '--resume']) == 0
    assert torch.load(run / 'iter_6.pth', weights_only=True)['meta']['iter'] == 6


def test_another_loop_does_not_repeat_an_interrupted_epoch(straight, tmp_path):
    config, _ = straight('plain')
    run = tmp_path / 'run'
    stopping = signaling(config, tmp_path, dict(number=int(signal.SIGTERM), iteration=2))
    assert run_command('train', [str(stopping), '--work-dir', str(run)]) == 143
    text = re.sub(r'by_epoch=True,\s*max', "type='OtherLoop', max", config.read_text())
    assert "type='OtherLoop'" in text
    other = tmp_path / 'other.py'
    other.write_text(text)
    line = refused('train', [str(other), '--work-dir', str(run), '--resume'])
    assert 'within an epoch, where OtherLoop cannot go on' in line


def start(arguments: list[str], cwd: Path, log: Path) -> WarmProcess:
    """Start a training in a process group of its own, with Ctrl-C as a terminal gives it."""
    return WarmProcess(arguments, log, cwd, OMP_NUM_THREADS=1, MKL_NUM_THREADS=1)


LONG = ['train_cfg.max_epochs=500', 'default_hooks.logger.interval=1']
WORKERS = [f'{name}_dataloader.num_workers=2' for name in ('train', 'val')]


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_signals_to_the_group_reach_loader_workers_too(number, data, tmp_path):
    config = write_tiny_config(tmp_path, data, MODEL)
    log = tmp_path / 'log.txt'
    arguments = [str(ROOT / 'tools' / 'train.py'), str(config), '--work-dir', str(tmp_path / 'run')]
    with start([*arguments, '--cfg-options', *LONG, *WORKERS], tmp_path, log) as process:
        process.wait_for(r'Epoch\(train\)\s+\[1\]\[ 3/')
        os.killpg(process.pid, number)
        assert process.wait(timeout=60) == 128 + number, log.read_text()[-3000:]
    text = log.read_text()
    assert 'stopping after this step' in text
    assert 'Traceback' not in text
    assert text.strip().splitlines()[-1].endswith('run the same command with --resume')
    assert list((tmp_path / 'run').glob('interrupted_*.pth'))


def test_a_second_ctrl_c_ends_at_once(data, tmp_path):
    # A step that takes a minute.
    (tmp_path / 'slow_step.py').write_text(
        'import time\n'
        'from mmengine.hooks import Hook\n'
        'from fusionreid.registry import HOOKS\n'
        '@HOOKS.register_module()\n'
        'class SlowStep(Hook):\n'
        '    def before_train_iter(self, runner, batch_idx, data_batch=None):\n'
        "        print('a slow step begins', flush=True)\n"
        '        end = time.monotonic() + 60\n'
        '        while time.monotonic() < end:\n'
        '            time.sleep(0.1)\n'
    )
    extra = (
        "custom_imports['imports'].append('slow_step')\ncustom_hooks.append(dict(type='SlowStep'))"
    )
    config = write_tiny_config(tmp_path, data, MODEL, extra=extra)
    log = tmp_path / 'log.txt'
    command = 'import sys; sys.path.insert(0, "."); from fusionreid.cli.main import run_command'
    command += f'; sys.exit(run_command("train", [{str(config)!r}, "--work-dir", "run"]))'
    with start(['-c', command], tmp_path, log) as process:
        process.wait_for('a slow step begins')
        process.send_signal(signal.SIGINT)
        process.wait_for('stopping after this step', 20)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == -signal.SIGINT


@pytest.mark.parametrize('only_second', [True, False])
def test_two_processes_stop_together_and_resume_to_the_bit(only_second, data, tmp_path):
    config = write_tiny_config(tmp_path, data, MODEL)
    stopping = signaling(config, tmp_path, dict(number=int(signal.SIGTERM), iteration=4))
    sender = 'import sys; sys.path.insert(0, "."); import send_signal\n'
    sender += 'from fusionreid.cli.main import run_command; sys.exit(run_command("train"))\n'
    (tmp_path / 'train_signaling.py').write_text(sender)
    who = "os.environ['RANK'] == '1'" if only_second else 'True'
    (tmp_path / 'send_signal.py').write_text(
        'import os\n'
        'from mmengine.hooks import Hook\n'
        'from fusionreid.registry import HOOKS\n'
        '@HOOKS.register_module()\n'
        'class SendSignal(Hook):\n'
        '    def __init__(self, number, iteration):\n'
        '        self.number, self.iteration = number, iteration\n'
        '    def before_train_iter(self, runner, batch_idx, data_batch=None):\n'
        f'        if runner.iter == self.iteration and {who}:\n'
        '            os.kill(os.getpid(), self.number)\n'
    )
    options = ['train_dataloader.sampler.ids_per_batch=2', 'train_dataloader.batch_size=4']
    for name, script, cfg, run, resume in (
        ('straight', ROOT / 'tools/train.py', config, 'straight', []),
        ('stopped', tmp_path / 'train_signaling.py', stopping, 'run', []),
        ('resumed', ROOT / 'tools/train.py', config, 'run', ['--resume']),
    ):
        logs = [tmp_path / f'{name}{rank}.txt' for rank in range(2)]
        arguments = [str(script), str(cfg), '--work-dir', str(tmp_path / run), *resume]
        arguments += ['--launcher', 'pytorch', '--cfg-options', *options]
        codes = run_ranks(arguments, logs, tmp_path, OMP_NUM_THREADS=1, MKL_NUM_THREADS=1)
        text = ''.join(log.read_text() for log in logs)
        assert codes == [143 if name == 'stopped' else 0] * 2, text[-5000:]
        if name == 'stopped':
            assert text.count('run the same command with --resume') == 1
            assert (tmp_path / run / 'interrupted_after_epoch_0.pth').is_file()
    assert_same_training(tmp_path / 'run/epoch_2.pth', tmp_path / 'straight/epoch_2.pth')


@pytest.mark.large
def test_ctrl_c_at_torchrun_reaches_all_processes(data, tmp_path):
    config = write_tiny_config(tmp_path, data, MODEL)
    options = ['train_dataloader.sampler.ids_per_batch=2', 'train_dataloader.batch_size=4']
    arguments = ['-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', '2']
    arguments += [str(ROOT / 'tools/train.py'), str(config), '--work-dir', str(tmp_path / 'run')]
    arguments += ['--launcher', 'pytorch', '--cfg-options', *options, *LONG]
    arguments += ['train_dataloader.num_workers=1']
    log = tmp_path / 'log.txt'
    # The launcher starts the two from nothing, as it does for a person.
    with start(arguments, tmp_path, log) as process:
        process.wait_for(r'Epoch\(train\)\s+\[1\]\[ 3/')
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(timeout=60) != 0
    assert log.read_text().count('run the same command with --resume') == 1
    assert list((tmp_path / 'run').glob('interrupted_*.pth'))
