"""A search of settings on tiny models: its results, what resumes it, and what it refuses."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import optuna
import pytest
from tiny_runs import parse_command, refused, render_tiny, write_tiny_config

from fusionreid.cli import sweep
from fusionreid.cli.main import run_command
from fusionreid.engine.hooks.trial_report_hook import TrialReportHook
from fusionreid.errors import ConfigError
from fusionreid.utils.csv_table import read_csv

PARAMS = ['optim_wrapper.optimizer.lr=log:1e-4:1e-2', 'model.neck.num_layers=choice:1,2']


@pytest.fixture(scope='module')
def config(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp('sweep')
    return str(write_tiny_config(folder, render_tiny(folder / 'data')))


class PruneSecond(optuna.pruners.BasePruner):
    """Gives up the second trial after its first validation."""

    def prune(self, study, trial) -> bool:
        return trial.number == 1


class Listed(optuna.samplers.BaseSampler):
    """Takes a given value in each trial."""

    values = ('5', '3', '5')

    def infer_relative_search_space(self, study, trial):
        return {}

    def sample_relative(self, study, trial, space):
        return {}

    def sample_independent(self, study, trial, name, distribution):
        return self.values[trial.number]


def rows_of(out: Path) -> list[dict[str, str]]:
    names, *rows = read_csv((out / 'trials.csv').read_bytes())
    return [dict(zip(names, row, strict=True)) for row in rows]


@pytest.mark.slow
def test_trials_are_pruned_and_the_search_goes_on(config, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sweep, 'make_pruner', lambda *_: PruneSecond())
    command = [config, '--out', str(tmp_path / 'out'), '--params', *PARAMS]
    run_command('sweep', [*command, '--trials', '2'])
    first, second = rows_of(tmp_path / 'out')
    assert (first['state'], second['state']) == ('complete', 'pruned')
    assert (first['epochs'], second['epochs']) == ('2', '1')
    assert 0 < float(first['reid/mAP']) <= 100
    assert 1e-4 <= float(first['optim_wrapper.optimizer.lr']) <= 1e-2
    assert first['optim_wrapper.optimizer.lr'] != second['optim_wrapper.optimizer.lr']
    trained = (tmp_path / 'out/trial_000/config.py').read_text()
    assert f'lr={first["optim_wrapper.optimizer.lr"]}' in trained
    assert f'num_layers={first["model.neck.num_layers"]}' in trained
    assert (tmp_path / 'out/study.png').read_bytes().startswith(b'\x89PNG')

    capsys.readouterr()
    before = (tmp_path / 'out/trial_000/epoch_2.pth').stat().st_mtime_ns
    run_command('sweep', [*command, '--trials', '3'])
    rows = rows_of(tmp_path / 'out')
    assert rows[:2] == [first, second]
    assert rows[2]['state'] == 'complete'
    assert (tmp_path / 'out/trial_000/epoch_2.pth').stat().st_mtime_ns == before
    best = max(rows, key=lambda row: float(row['reid/mAP']))
    output = capsys.readouterr().out
    assert f'fusionreid train {config} --cfg-options ' in output
    assert f'optim_wrapper.optimizer.lr={best["optim_wrapper.optimizer.lr"]}' in output
    # Nothing is left to do.
    run_command('sweep', [*command, '--trials', '3'])
    assert rows_of(tmp_path / 'out') == rows

    error = refused('sweep', [*command[:-1], '--trials', '3'])
    assert 'differs in model.neck.num_layers' in error
    error = refused('sweep', [*command, '--cfg-options', 'train_cfg.max_epochs=5'])
    assert 'a search with another config' in error


@pytest.mark.slow
def test_an_interrupted_trial_is_continued(config, tmp_path, monkeypatch):
    report = TrialReportHook.after_val_epoch

    def stop(self, runner, metrics=None):
        report(self, runner, metrics)
        raise KeyboardInterrupt

    command = [config, '--out', str(tmp_path), '--params', PARAMS[0], '--trials', '1']
    monkeypatch.setattr(TrialReportHook, 'after_val_epoch', stop)
    assert run_command('sweep', command) == 130
    study = optuna.load_study(study_name='sweep', storage=f'sqlite:///{tmp_path / "study.db"}')
    (trial,) = study.trials
    assert trial.state == optuna.trial.TrialState.RUNNING
    assert list(trial.intermediate_values) == [1]
    monkeypatch.setattr(TrialReportHook, 'after_val_epoch', report)
    run_command('sweep', command)
    (row,) = rows_of(tmp_path)
    assert (row['trial'], row['state'], row['epochs']) == ('0', 'complete', '2')
    assert float(row['optim_wrapper.optimizer.lr']) == trial.params['optim_wrapper.optimizer.lr']
    # The first epoch is not trained again.
    logs = [path.read_text() for path in tmp_path.glob('trial_000/*/*.log')]
    assert sum('Epoch(train) [1][' in log for log in logs) == 1


@pytest.mark.slow
def test_a_trial_that_cannot_be_trained_is_noted(config, tmp_path, monkeypatch, capsys):
    command = [config, '--out', str(tmp_path), '--trials', '2', '--params']
    # 24 divides into 3 heads, not into 5.
    space = 'model.neck.num_heads=choice:3,5'
    monkeypatch.setattr(sweep, 'make_sampler', lambda *_: Listed())
    error = refused('sweep', [*command, space])
    assert '5' in error
    assert [row['state'] for row in rows_of(tmp_path)] == ['fail']
    run_command('sweep', [*command, space, '--trials', '3'])
    assert [row['state'] for row in rows_of(tmp_path)] == ['fail', 'complete', 'fail']
    assert '5' in rows_of(tmp_path)[2]['error']
    assert 'trial 2 failed' in capsys.readouterr().out


def test_a_damaged_study_is_told(config, tmp_path):
    (tmp_path / 'study.db').write_bytes(b'not a database')
    command = [config, '--out', str(tmp_path), '--params', PARAMS[0]]
    assert f'{tmp_path / "study.db"} is damaged' in refused('sweep', command)


def test_the_file_is_what_sqlite_writes(tmp_path):
    with sqlite3.connect(tmp_path / 'a.db') as database:
        database.execute('create table a (b int)')
    assert (tmp_path / 'a.db').read_bytes().startswith(sweep.SQLITE)


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        (['--params', 'modle.neck.num_layers=int:1:2'], "did you mean 'model'"),
        (['--params', 'model.head.num_classes.x=int:1:2'], 'do not fit the config'),
        (['--params', PARAMS[0], '--cfg-options', 'val_dataloader=None'], 'no val_dataloader'),
    ],
)
def test_settings_are_checked_before_the_first_training(config, tmp_path, options, expected):
    assert expected in refused('sweep', [config, '--out', str(tmp_path / 'out'), *options])
    assert not list(tmp_path.glob('out/trial_*'))


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        (['--params', 'a=normal:1:2'], "'normal:1:2' is none of log:LOW:HIGH"),
        (['--params', 'a=int:1:2', 'a=int:1:3'], 'a: each setting must be given once'),
        (['--params', 'a=int:1:2', '--cfg-options', 'a=3'], 'a: each setting must be given once'),
        (['--params', 'a=int:1:2', '--trials', '0'], 'must be at least 1'),
        ([], 'required: --params'),
    ],
)
def test_wrong_arguments(options, expected, capsys):
    with pytest.raises(SystemExit) as stop:
        parse_command('sweep', ['a_config', *options])
    assert stop.value.code == 2
    assert expected in capsys.readouterr().err


class Steps(list):
    """What a trial is told."""

    def report(self, score, step):
        self.append((step, score))

    def should_prune(self):
        return len(self) == 2


def test_scores_are_reported_once():
    class Runner:
        epoch = 1

    trial, runner = Steps(), Runner()
    hook = TrialReportHook(trial, 'reid/mAP', {1: 40.0})
    hook.after_val_epoch(runner, {'reid/mAP': 40.0})
    assert trial == []
    runner.epoch = 2
    hook.after_val_epoch(runner, {'reid/mAP': 50.0})
    assert (trial, hook.scores) == ([(2, 50.0)], {1: 40.0, 2: 50.0})
    runner.epoch = 3
    with pytest.raises(optuna.TrialPruned):
        hook.after_val_epoch(runner, {'reid/mAP': 30.0})


@pytest.mark.parametrize(
    ('metrics', 'expected'),
    [({'reid/Rank-1': 1.0}, 'gives reid/Rank-1'), ({'reid/mAP': float('nan')}, 'NaN')],
)
def test_a_score_that_is_not_there(metrics, expected):
    class Runner:
        epoch = 1

    with pytest.raises(ConfigError, match=expected):
        TrialReportHook(Steps(), 'reid/mAP', {}).after_val_epoch(Runner(), metrics)
