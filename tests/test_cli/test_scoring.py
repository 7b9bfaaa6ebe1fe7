"""tools/test.py: saved features, re-ranking, mirror images and several data sets."""

from __future__ import annotations

import json
from pathlib import Path

import dataset_trees
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from tiny_runs import render_tiny, write_tiny_config

from fusionreid.cli.main import run_command
from fusionreid.evaluation import FeatureSet
from fusionreid.evaluation.metrics import reid_metric
from fusionreid.registry import MODELS


@pytest.fixture(scope='module')
def model(data, tmp_path_factory) -> tuple[Path, Path]:
    """A config and a checkpoint of random weights."""
    folder = tmp_path_factory.mktemp('model')
    config = write_tiny_config(folder, data)
    init_default_scope('fusionreid')
    torch.manual_seed(0)
    net = MODELS.build(Config.fromfile(config).model)
    net.init_weights()
    torch.save(dict(state_dict=net.state_dict(), meta={}), folder / 'model.pth')
    return config, folder / 'model.pth'


@pytest.fixture(scope='module')
def scored(model, tmp_path_factory) -> tuple[Path, dict[str, float]]:
    """A folder of saved features and their scores."""
    out = tmp_path_factory.mktemp('features')
    return out, run(model, out, '--rerank')


def run(model: tuple[Path, Path], out: Path, *options: str) -> dict[str, float]:
    run_command('test', [*map(str, model), '--work-dir', str(out), '--out', str(out), *options])
    return json.loads((out / 'metrics.json').read_text())


@pytest.mark.slow
def test_saved_features_score_as_the_model_did(scored, tmp_path):
    features, scores = scored
    run_command('test', ['--from', str(features), '--rerank', '--out', str(tmp_path)])
    assert json.loads((tmp_path / 'metrics.json').read_text()) == scores
    run_command(
        'test', ['--from', str(features), '--features', 'cnn_fused,all', '--out', str(tmp_path)]
    )
    chosen = json.loads((tmp_path / 'metrics.json').read_text())
    assert {name for name in chosen if 'mAP' in name} == {'reid/mAP', 'reid/cnn_fused.mAP'}
    assert all(chosen[name] == scores[name] for name in chosen)


def test_a_config_says_how_saved_features_are_scored(scored, model, tmp_path):
    features, scores = scored
    override = ['--cfg-options', 'test_evaluator.remove_same_camera=False']
    command = [str(model[0]), '--from', str(features), *override, '--out', str(tmp_path)]
    run_command('test', [*command, '--work-dir', str(tmp_path)])
    kept = json.loads((tmp_path / 'metrics.json').read_text())
    assert kept['reid/mAP'] != scores['reid/mAP']
    assert not (tmp_path / 'features.json').exists()


def test_rerank_states_its_numbers_and_depends_on_them(scored, tmp_path, monkeypatch):
    features, scores = scored
    command = ['--from', str(features), '--out', str(tmp_path), '--features', 'all']
    logged = []
    monkeypatch.setattr(reid_metric, 'print_log', lambda text, **_: logged.append(text))
    run_command('test', [*command, '--rerank', 'k1=5', 'k2=2', 'lambda_value=0.5'])
    assert 'k-reciprocal re-ranking (k1=5, k2=2, lambda=0.5)' in logged[1]
    found = json.loads((tmp_path / 'metrics.json').read_text())
    assert found['reid/mAP'] == scores['reid/mAP']
    assert found['reid/rerank.mAP'] != scores['reid/rerank.mAP']


def test_mirrored_images_are_averaged(scored, model, tmp_path):
    features, _ = scored
    run(model, tmp_path / 'flip', '--flip')
    plain, flipped = FeatureSet.load(features), FeatureSet.load(tmp_path / 'flip')
    assert 'mirror' in flipped.protocol['feature_protocol']
    assert 'mirror' not in plain.protocol['feature_protocol']
    assert not torch.allclose(plain.features, flipped.features, atol=1e-4)
    net = MODELS.build(Config.fromfile(model[0]).model).eval()
    net.load_state_dict(torch.load(model[1])['state_dict'])
    net.flip_test = True
    images = torch.randn(3, 3, 64, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        here, there = (
            [sample.features['cnn_fused'] for sample in net(batch, mode='predict')]
            for batch in (images, images.flip(3))
        )
    torch.testing.assert_close(here, there)


@pytest.mark.slow
def test_several_data_sets_in_one_run(scored, model, data, tmp_path, capfd):
    other = render_tiny(tmp_path / 'synthetic')
    sets = [f'MarketStyleDataset={data}', f'streets:MarketStyleDataset={other}']
    metrics = run(model, tmp_path / 'out', '--datasets', *sets)
    output = ''.join(capfd.readouterr())
    home = {name: value for name, value in scored[1].items() if 'rerank' not in name}
    assert {
        name.removeprefix('synthetic/'): value
        for name, value in metrics.items()
        if name.startswith('synthetic/')
    } == pytest.approx(home, abs=1e-4)
    # The same people, but nothing is known about their cameras.
    assert metrics['streets/reid/cnn.mAP'] == pytest.approx(home['reid/cnn.mAP'], abs=1e-4)
    away = FeatureSet.load(tmp_path / 'out' / 'streets')
    assert 'mean camera' in away.protocol['feature_protocol']
    known = FeatureSet.load(tmp_path / 'out' / 'synthetic')
    assert '6 cameras' in known.protocol['feature_protocol']
    table = output[output.rindex('data set') :].splitlines()
    assert [row.split()[0] for row in table[2:4]] == ['synthetic', 'streets']
    assert table[0].split()[-5:] == ['mAP', 'rank1', 'rank5', 'rank10', 'mINP']
    assert table[2].split()[3] == 'known'
    assert table[3].split()[3] == 'mean'


def test_public_data_sets_with_protocols_of_their_own(tmp_path, capfd):
    sets = {
        'VIPeR': dataset_trees.write_viper(tmp_path / 'viper'),
        'MARS': dataset_trees.write_mars(tmp_path / 'mars'),
        'VehicleID': dataset_trees.write_vehicleid(tmp_path / 'vehicleid'),
    }
    out = str(tmp_path / 'out')
    command = ['color_histogram_synthetic', '--work-dir', out, '--out', out]
    command += ['--datasets', *(f'{name}={root}' for name, root in sets.items())]
    run_command('test', [*command, '--cfg-options', 'test_dataloader.num_workers=0'])
    metrics = json.loads((tmp_path / 'out' / 'metrics.json').read_text())
    assert {name.partition('/')[0] for name in metrics if name.endswith('/mAP_std')} == {
        'VIPeR',
        'VehicleID',
    }
    saved = FeatureSet.load(tmp_path / 'out' / 'MARS')
    assert (len(saved), saved.protocol['images_in_tracklets']) == (5, 13)
    output = ''.join(capfd.readouterr())
    for text in (
        'over 10 random splits (seed 0)',
        'mean features of tracklets of 13 images, query 2 tracklets of 2 ids',
        'over 10 random galleries of one image of each vehicle (seed 0)',
        'no camera known, so that none is removed',
    ):
        assert text in output
    # Scores of a data set are not those of the one before.
    logged = [line for line in output.splitlines() if 'Epoch(test)' in line]
    assert ['mAP_std' in line for line in logged] == [True, False, True]


def test_a_model_that_was_never_trained_has_no_home(data, tmp_path):
    out = str(tmp_path / 'out')
    command = ['color_histogram_synthetic', '--work-dir', out, '--out', out]
    run_command('test', [*command, '--datasets', f'streets:MarketStyleDataset={data}'])
    metrics = json.loads((tmp_path / 'out' / 'metrics.json').read_text())
    assert 0 < metrics['streets/reid/mAP'] < 100


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--from', 'nowhere'], 'no saved features.*nowhere'),
        (['--from', '{features}', '--features', 'text'], 'text.*the model gives cnn'),
        (['--from', '{features}', '--rerank', 'k1=0'], 'rerank: k1=0 is not a whole number from 1'),
        (['--from', '{features}', '--rerank', 'k3=1'], 'rerank must be a dict of k1, k2'),
        (['--from', '{features}', '--rerank', 'k1=900'], '900'),
        (['{config}', '{weights}', '--datasets', 'Market1501'], r'TYPE=ROOT is expected'),
        (['{config}', '{weights}', '--datasets', 'Mars=x'], r'TYPE=ROOT is expected'),
        (['{config}', '{weights}', '--datasets', 'CsvDataset=x'], 'with a .csv as ROOT'),
        (['{config}', '{weights}', '--datasets', 'Market1501=nowhere'], 'nowhere'),
        (
            ['{config}', '{weights}', '--rerank', 'k1=900'],
            r'k1=900 is not .* in 1\.\.40, .* gallery images',
        ),
        (['{config}', '{weights}', '--out', '{config}'], '--out .* cannot be made'),
        (
            ['{config}', '{weights}', '--datasets', 'MarketStyleDataset={data}']
            + ['MarketStyleDataset={data}'],
            "two data sets are called 'synthetic'",
        ),
    ],
)
@pytest.mark.slow
def test_what_cannot_be_scored_is_one_line(options, message, scored, model, data, tmp_path):
    config, weights = model
    values = dict(features=scored[0], config=config, weights=weights, data=data)
    command = [option.format(**values) for option in options]
    if '--from' not in command:
        command += ['--work-dir', str(tmp_path)]
    with pytest.raises(SystemExit, match=message) as stop:
        run_command('test', command)
    assert '\n' not in str(stop.value)


@pytest.mark.parametrize(
    'options',
    [
        [],
        ['--from', 'x', '--flip'],
        ['--from', 'x', '--cfg-options', 'a=1'],
        ['config.py', '--rerank', 'k1=many'],
    ],
)
def test_wrong_commands_are_refused(options, capfd):
    with pytest.raises(SystemExit) as stop:
        run_command('test', options)
    assert stop.value.code == 2
    assert 'error' in capfd.readouterr().err
