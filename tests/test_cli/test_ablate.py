from __future__ import annotations

import csv
import json
import re
import threading
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from small_models import FEATURES
from tiny_runs import parse_command, refused, render_tiny, write_tiny_config
from warm_processes import WARM_SUBPROCESS

from fusionreid.cli import ablate as tool
from fusionreid.cli.main import run_command
from fusionreid.errors import CommandError
from fusionreid.evaluation import FeatureSet
from fusionreid.models import build_on_meta
from fusionreid.registry import MODELS


@pytest.fixture(scope='module')
def config(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('ablation')
    return write_tiny_config(folder, render_tiny(folder / 'data'))


def option(command: list, name: str) -> str:
    return str(command[command.index(name) + 1])


@pytest.fixture
def commands(monkeypatch):
    """Scripts that were to run; those that score write features which depend on the seed."""
    seen, lock = [], threading.Lock()

    def run(self, title, command, log, progress=None):
        seen.append((title, [str(part) for part in command]))
        if 'fail' in title:
            raise CommandError(f'{title} failed')
        if not title.startswith('score'):
            return
        seed = int(command[-1].partition('=')[2])
        generator = torch.Generator().manual_seed(seed)
        with lock:  # mmengine reads one config at a time
            names = list(MODELS.build(Config.fromfile(command[1]).model).feature_widths)
        FeatureSet(
            features=torch.randn(40, 3 * len(names), generator=generator),
            widths=dict.fromkeys(names, 3),
            person_ids=torch.arange(10).repeat(4),
            camera_ids=torch.arange(4).repeat_interleave(10),
            roles=['query'] * 10 + ['gallery'] * 30,
            img_paths=[f'{row}.jpg' for row in range(40)],
        ).save(option(command, '--out'))

    monkeypatch.setattr(tool.CommandRunner, 'run', run)
    return seen


def cells(text: str) -> list[list[str]]:
    """The rows of all Markdown tables."""
    return [
        [cell.strip() for cell in line.strip('|').split('|')]
        for line in text.splitlines()
        if '|' in line
    ]


@pytest.mark.slow
def test_all_models_and_seeds_then_nothing_to_do(config, commands, tmp_path, capsys):
    arguments = ['--config', str(config), '--out', str(tmp_path), '--seeds', '3', '5']
    assert run_command('ablate', arguments) == 0
    text = (tmp_path / 'ablation.md').read_text()
    assert text in capsys.readouterr().out
    titles = [title for title, _ in commands]
    runs = [f'{variant}, seed {seed}' for seed in (3, 5) for variant in tool.DEFAULT_VARIANTS]
    assert sorted(titles) == sorted(
        f'{step} {run}' for run in runs for step in ('train', 'score')
    )  # the data set is there, so nothing is rendered
    for title, command in commands:
        variant, seed = re.fullmatch(r'\w+ (\w+), seed (\d)', title).groups()
        assert command[-1] == f'randomness.seed={seed}'
        assert option(command, '--work-dir') == str(tmp_path / variant / f'seed{seed}')
        if title.startswith('train'):
            assert command[0] == 'train'
            assert '--resume' in command
        else:
            assert command[2] == str(tmp_path / variant / f'seed{seed}' / 'epoch_2.pth')

    tables = cells(text)
    assert tables[0] == ['model', 'parameters (M)', 'mAP', 'Rank-1', 'mINP']
    titles = [tool.VARIANTS[variant][0] for variant in tool.DEFAULT_VARIANTS]
    assert [row[0] for row in tables[2:9]] == titles
    recorded = [
        json.loads((tmp_path / 'fusion_l2' / f'seed{seed}' / 'result.json').read_text())
        for seed in (3, 5)
    ]
    assert [(run['variant'], run['seed']) for run in recorded] == [
        ('fusion_l2', 3),
        ('fusion_l2', 5),
    ]
    first, second = (run['scores']['all']['mAP'] for run in recorded)
    mean, deviation = (first + second) / 2, abs(first - second) / 2**0.5
    assert tables[6][2] == f'{mean:.1f} ± {deviation:.1f}'
    assert first != second

    assert tables[9] == [
        'model',
        *FEATURES,
        'all',
        'all_each_normalized',
    ]
    by_name = {row[0]: [bool(cell) for cell in row[1:]] for row in tables[11:]}
    assert by_name['CNN alone'] == [True] + [False] * 7
    assert by_name['transformer alone'] == [False, True] + [False] * 6
    assert by_name['both, L = 0 (no HTM)'] == [True] * 4 + [False] * 2 + [True] * 2
    assert all(by_name['fusion, L = 2'])

    commands.clear()
    (tmp_path / 'ablation.md').unlink()
    assert run_command('ablate', arguments) == 0
    assert not commands
    assert (tmp_path / 'ablation.md').read_text() == text


def test_only_what_is_missing_is_run(config, commands, tmp_path):
    arguments = ['--config', str(config), '--out', str(tmp_path), '--jobs', '1', '--variants']
    assert run_command('ablate', [*arguments, 'cnn', '--seeds', '0']) == 0
    assert '±' not in (tmp_path / 'ablation.md').read_text()  # of a single seed
    commands.clear()
    assert run_command('ablate', [*arguments, 'cnn', 'fusion_l0', '--seeds', '0', '1']) == 0
    assert [title for title, _ in commands if title.startswith('train')] == [
        'train fusion_l0, seed 0',
        'train cnn, seed 1',
        'train fusion_l0, seed 1',
    ]


def test_every_run_has_its_row_and_the_gain_over_a_baseline_its_interval(
    config, commands, tmp_path
):
    arguments = ['--config', str(config), '--out', str(tmp_path), '--seeds', '0', '4']
    arguments += ['--variants', 'cnn', 'fusion_l0', '--baseline', 'cnn']
    assert run_command('ablate', arguments) == 0
    with (tmp_path / 'ablation.csv').open(newline='') as file:
        rows = list(csv.DictReader(file))
    # Each feature, all of them normalized once, and one by one; a single feature is all.
    assert len(rows) == 2 * (1 + 4 + 2)
    scores = {}
    for row in rows:
        recorded = json.loads(tool.result_file(tmp_path, row['model'], row['seed']).read_text())
        own = recorded['scores'][row['feature']]
        assert {metric: float(row[metric]) for metric in own} == {
            metric: pytest.approx(value, abs=0.006) for metric, value in own.items()
        }
        scores.setdefault((row['model'], row['feature']), []).append(own['mAP'])
    gains = [row for row in cells((tmp_path / 'ablation.md').read_text()) if row[2][:1] in '+-']
    gains = [row for row in gains if row[0] == 'both, L = 0 (no HTM)' and ' to ' in row[3]]
    assert [row[1] for row in gains] == [*FEATURES[:4], 'all', 'all_each_normalized']
    for _, feature, gain, by_query, by_person in gains:
        means = [sum(scores[key]) / 2 for key in (('fusion_l0', feature), ('cnn', 'cnn'))]
        assert float(gain) == pytest.approx(means[0] - means[1], abs=0.051)
        for interval in (by_query, by_person):
            low, high = map(float, interval.split(' to '))
            assert low < float(gain) < high


def test_a_failure_keeps_what_was_finished(config, commands, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(tool.VARIANTS, 'fails', ('fails', {}))
    arguments = ['--config', str(config), '--out', str(tmp_path), '--jobs', '1', '--seeds', '0']
    line = refused('ablate', [*arguments, '--variants', 'cnn', 'fails', 'fusion_l0'])
    assert line == 'error: train fails, seed 0 failed'
    assert tool.result_file(tmp_path, 'cnn', 0).exists()
    assert not tool.result_file(tmp_path, 'fails', 0).exists()
    assert not (tmp_path / 'ablation.md').exists()
    assert 'train fusion_l0, seed 0' not in [title for title, _ in commands]


def test_the_models_are_what_their_names_say(config):
    args = parse_command('ablate', ['--config', str(config), '--epochs', '7'])
    models = {}
    for variant in tool.DEFAULT_VARIANTS:
        cfg = tool.build_config(variant, args)
        assert cfg.train_cfg.max_epochs == 7
        models[variant] = MODELS.build(cfg.model)
    assert list(models['cnn'].feature_widths) == ['cnn']
    assert list(models['transformer'].feature_widths) == ['transformer']
    assert list(models['fusion_l0'].feature_widths) == list(FEATURES[:4])
    for layers in (1, 2, 3):
        assert len(models[f'fusion_l{layers}'].neck.layers) == layers
        assert len(models[f'fusion_l{layers}'].feature_widths) == 6
    size = {name: sum(p.numel() for p in model.parameters()) for name, model in models.items()}
    assert size['fusion_l0'] < size['fusion_l1'] < size['fusion_l2'] < size['fusion_l2_unshared']


def test_the_lighter_models_differ_from_the_published_one_in_what_their_names_say():
    args = parse_command('ablate', [])
    published = tool.build_config('fusion_l2', args).model
    width = published.neck.embed_dims
    expected = {
        'lite_mfu': dict(units=('mfu',)),
        'lite_patch_mlp': dict(patch_mlp=False),
        'lite_once': dict(encode_once=True),
        'lite_pooled': dict(patch_pooling=2),
        'lite_shared_layers': dict(share_layers=True),
        'lite_latents': dict(num_latents=8),
        'lite_rank': dict(rank=width // 6),
        'lite_narrow': dict(inner_dims=width // 2),
        'lite_pooled_mlp': dict(patch_pooling=2, patch_mlp=False),
        'lite_pooled_once': dict(patch_pooling=2, encode_once=True),
        'lite_merged': {},
        'lite_pooled_once_merged': dict(patch_pooling=2, encode_once=True),
    }
    assert list(expected) == [name for name in tool.VARIANTS if name not in tool.DEFAULT_VARIANTS]
    for variant, changes in expected.items():
        model = tool.build_config(variant, args).model
        assert model.neck == published.neck | changes, variant
        ratio = model.branches.transformer.backbone.get('keep_ratio', 1)
        assert (ratio < 1) == variant.endswith('merged')
        assert len(build_on_meta(model).feature_widths) == 6


def test_results_of_other_settings_are_not_mixed(config, commands, tmp_path, capsys):
    arguments = ['--config', str(config), '--out', str(tmp_path), '--variants', 'cnn']
    assert run_command('ablate', [*arguments, '--seeds', '0']) == 0
    commands.clear()
    for other in (['--epochs', '9'], ['--cfg-options', 'optim_wrapper.optimizer.lr=0.5']):
        assert 'other settings' in refused('ablate', [*arguments, '--seeds', '0', '1', *other])
    assert not commands


def test_missing_people_are_rendered_as_the_config_wants_them(config, commands, tmp_path):
    arguments = ['--config', str(config), '--out', str(tmp_path), '--variants', 'cnn']
    data = str(tmp_path / 'people')
    assert run_command('ablate', [*arguments, '--seeds', '0', '--data-root', data]) == 0
    title, command = commands[0]
    assert title == 'render'
    assert command[1] == data
    assert [option(command, f'--{name}') for name in ('ids-train', 'height', 'width')] == [
        '8',
        '64',
        '32',
    ]
    trained = Config.fromfile(tmp_path / 'cnn' / 'config.py')
    assert trained.train_dataloader.dataset.data_root == data


def test_no_other_data_set_is_rendered(commands, tmp_path):
    config = 'fusionreid_vitb_r50_market1501'
    args = parse_command('ablate', ['--config', config, '--data-root', str(tmp_path / 'missing')])
    tool.render(tool.build_config('cnn', args), tmp_path, tool.CommandRunner())
    assert not commands


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('r18_synthetic', 'must fuse branches named cnn and transformer'),
        ('missing', "no config file 'missing'"),
    ],
)
def test_an_unsuitable_config_ends_in_one_line(name, message, commands, tmp_path, capsys):
    error = refused('ablate', ['--config', name, '--out', str(tmp_path)])
    assert message in error
    assert '\n' not in error
    assert not commands


def test_a_folder_that_cannot_be_made_ends_in_one_line(config, commands, tmp_path):
    (tmp_path / 'file').touch()
    error = refused('ablate', ['--config', str(config), '--out', str(tmp_path / 'file' / 'out')])
    assert 'cannot be made' in error
    assert not commands


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--seeds', '1', '2', '1'], '--seeds must differ, got 1 2 1'),
        (['--variants', 'cnn', 'rnn'], "invalid choice: 'rnn'"),
        (['--variants', 'cnn', '--baseline', 'fusion_l0'], '--baseline fusion_l0 must be one of'),
        (['--baseline', 'rnn'], "invalid choice: 'rnn'"),
        (['--jobs', '0'], 'at least 1'),
        (['--epochs', '0'], 'at least 1'),
    ],
)
def test_bad_options(arguments, message, capsys):
    with pytest.raises(SystemExit):
        parse_command('ablate', arguments)
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_a_real_run_and_the_comparison_of_its_checkpoint(config, tmp_path, capfd, monkeypatch):
    """Without HTMs: the neck's refined features alone."""
    monkeypatch.setattr('fusionreid.cli.command_runner.subprocess', WARM_SUBPROCESS)
    arguments = ['--config', str(config), '--seeds', '0', '--epochs', '1']
    out = tmp_path / 'out'
    assert run_command('ablate', [*arguments, '--out', str(out), '--variants', 'fusion_l0']) == 0
    assert 'train fusion_l0, seed 0: epoch 1 of 1, loss ' in capfd.readouterr().out
    run = out / 'fusion_l0' / 'seed0'
    scores = json.loads((run / 'result.json').read_text())['scores']
    assert list(scores) == [
        *FEATURES[:4],
        'all',
        'all_each_normalized',
    ]
    checkpoint = [str(out / 'fusion_l0' / 'config.py'), str(run / 'epoch_1.pth')]
    assert run_command('compare', [*checkpoint, '--out', str(tmp_path / 'compared')]) == 0
    (row,) = [
        row
        for row in cells((tmp_path / 'compared' / 'feature_scores.md').read_text())
        if row[0] == 'all'
    ]
    assert row[3:] == [f'{score:.1f}' for score in scores['all'].values()]
