import re

import pytest
import torch
from mmengine.config import Config
from PIL import Image
from tiny_runs import refused, render_tiny, write_tiny_config

from fusionreid.cli.main import run_command
from fusionreid.evaluation import FeatureSet
from fusionreid.evaluation.feature_comparison import compare_features, headline_scores
from fusionreid.registry import MODELS


@pytest.fixture
def features_dir(tmp_path):
    """`good` tells four people apart, `loud` is noise with large values."""
    generator = torch.Generator().manual_seed(0)
    good = torch.eye(4).repeat(3, 1) + 0.3 * torch.randn(12, 4, generator=generator)
    loud = 100 * torch.randn(12, 6, generator=generator)
    FeatureSet(
        features=torch.cat([good, loud], dim=1),
        widths={'good': 4, 'loud': 6},
        person_ids=torch.arange(4).repeat(3),
        camera_ids=torch.arange(3).repeat_interleave(4),
        roles=['query'] * 4 + ['gallery'] * 8,
        img_paths=[f'{row}.jpg' for row in range(12)],
        protocol={'dataset_name': 'Market-1501', 'split': 'test'},
    ).save(tmp_path / 'features')
    return tmp_path / 'features'


def cells(text: str) -> dict[str, list[str]]:
    """Name of each row of a Markdown table to its other cells."""
    rows = [re.split(r'\s*\|\s*', line.strip('| ')) for line in text.splitlines() if '|' in line]
    return {name: values for name, *values in rows}


def test_table_and_chart_of_saved_features(features_dir, capsys):
    assert run_command('compare', [str(features_dir)]) == 0
    shown = capsys.readouterr().out
    text = (features_dir / 'feature_scores.md').read_text()
    assert text in shown
    assert 'Market-1501, split test, query 4 images of 4 ids' in text
    rows = cells(text)
    assert rows.pop('feature') == ['width', 'weight', 'mAP', 'Rank-1', 'mINP']
    results = compare_features(FeatureSet.load(features_dir))
    assert [name for name in rows if '-' not in name] == list(results)
    for name, result in results.items():
        assert rows[name][2:] == [f'{score:.1f}' for score in headline_scores(result).values()]
    assert [rows[name][0] for name in results] == ['4', '6', '10', '10']
    # The loud one takes the whole concatenation, unless each is normalized first.
    assert rows['good'][1] == '0.0%'
    assert rows['loud'][1] == '100.0%'
    assert rows['all'][2:] == rows['loud'][2:] != rows['all_each_normalized'][2:]
    assert float(rows['all_each_normalized'][2]) > float(rows['all'][2])
    with Image.open(features_dir / 'feature_scores.png') as picture:
        assert picture.width > 1000


def test_another_folder(features_dir, tmp_path):
    out = tmp_path / 'deep' / 'out'
    assert run_command('compare', [str(features_dir), '-o', str(out), '--keep-same-camera']) == 0
    assert 'same-camera matches kept' in (out / 'feature_scores.md').read_text()
    assert not (features_dir / 'feature_scores.md').exists()


def test_a_single_feature_has_no_concatenation(tmp_path):
    FeatureSet(
        features=torch.eye(2).repeat(2, 1),
        widths={'cnn': 2},
        person_ids=torch.tensor([0, 1, 0, 1]),
        camera_ids=torch.tensor([0, 0, 1, 1]),
        roles=['query'] * 2 + ['gallery'] * 2,
        img_paths=list('abcd'),
    ).save(tmp_path)
    assert run_command('compare', [str(tmp_path)]) == 0
    text = (tmp_path / 'feature_scores.md').read_text()
    assert cells(text)['cnn'] == ['2', '100.0%', '100.0', '100.0', '100.0']
    assert '`all`' not in text


def test_a_folder_without_features_ends_in_one_line(tmp_path, capsys):
    error = refused('compare', [str(tmp_path)])
    assert error.startswith('error: no saved features')
    assert '\n' not in error


@pytest.mark.slow
def test_a_checkpoint_on_data_of_one_camera(tmp_path):
    data = render_tiny(tmp_path / 'data')
    config = write_tiny_config(tmp_path, data, 'r18_synthetic')
    net = MODELS.build(Config.fromfile(config).model)
    torch.save(dict(state_dict=net.state_dict()), tmp_path / 'weights.pth')
    for path in data.glob('*/*.jpg'):
        path.rename(path.with_name(re.sub(r'_c\ds\d_', '_c1s1_', path.name)))
    out = tmp_path / 'out'
    command = [str(config), str(tmp_path / 'weights.pth'), '-o', str(out)]
    assert 'remove_same_camera=False' in refused('compare', command)
    assert run_command('compare', [*command, '--keep-same-camera']) == 0
    assert 'same-camera matches kept' in (out / 'feature_scores.md').read_text()


def test_a_test_that_fails_ends_in_its_own_line(tmp_path):
    arguments = ['r18_synthetic', 'weights.pth', '-o', str(tmp_path / 'out')]
    assert "no checkpoint file 'weights.pth'" in refused('compare', arguments)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['{dir}', 'weights.pth'], 'belong to a config'),
        (['{dir}', '--data-root', 'data'], 'belong to a config'),
        (['r18_synthetic'], 'needs a checkpoint'),
        (['weights.pth', 'config.py'], 'neither a folder of saved features nor a config'),
    ],
)
def test_arguments_that_contradict_each_other(arguments, message, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run_command('compare', [argument.format(dir=tmp_path) for argument in arguments])
    assert message in capsys.readouterr().err
