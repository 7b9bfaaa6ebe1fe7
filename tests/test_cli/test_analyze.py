import json

import pytest
import torch
from PIL import Image
from tiny_runs import refused
from torch.nn.functional import normalize

from fusionreid.cli import analyze
from fusionreid.cli.main import run_command
from fusionreid.evaluation import FeatureSet
from fusionreid.evaluation.functional import (
    bootstrap_scores,
    evaluate_camera_pairs,
    evaluate_ranking,
    evaluate_verification,
)

MARKET = {'dataset_name': 'Market-1501', 'split': 'test'}


def save_features(folder, num_people=8, num_cameras=3, noise=0.5, protocol=MARKET):
    """`good` tells people apart, `noise` does not; every person is seen twice by every camera."""
    random = torch.Generator().manual_seed(0)
    count = num_people * num_cameras * 2
    ids = torch.arange(num_people).repeat(num_cameras * 2)
    good = torch.randn(num_people, 8, generator=random)[ids]
    good = good + noise * torch.randn(count, 8, generator=random)
    FeatureSet(
        features=torch.cat([good, torch.randn(count, 3, generator=random)], dim=1),
        widths={'good': 8, 'noise': 3},
        person_ids=ids,
        camera_ids=torch.arange(num_cameras).repeat_interleave(num_people).repeat(2),
        roles=['query'] * (count // 2) + ['gallery'] * (count // 2),
        img_paths=[f'{row}.jpg' for row in range(count)],
        protocol=protocol,
    ).save(folder)
    return folder


def arguments_of(folder, name):
    query, gallery = FeatureSet.load(folder).split()
    return (
        normalize(query.select(name)), normalize(gallery.select(name)),
        query.person_ids, gallery.person_ids, query.camera_ids, gallery.camera_ids,
    )  # fmt: skip


@pytest.mark.slow
def test_numbers_and_pictures(tmp_path, capsys):
    folder = save_features(tmp_path / 'features')
    options = ['--fpr', '0.1', '0.02', '--samples', '50', '--seed', '3']
    assert run_command('analyze', [str(folder), *options]) == 0
    shown = capsys.readouterr().out
    record = json.loads((folder / 'analysis.json').read_text())
    arguments = arguments_of(folder, 'all')

    expected = evaluate_verification(*arguments, fprs=(0.1, 0.02))
    found = record['verification']
    assert found['eer'] == expected.eer
    assert found['eer_threshold'] == expected.eer_threshold
    assert [point['tpr'] for point in found['operating_points']] == [
        point.tpr for point in expected.operating_points
    ]
    assert sum(found['histogram']['same']) == found['num_same'] == expected.num_same
    assert f'{expected.eer_threshold:.4f}' in shown
    for point in expected.operating_points:
        assert f'{point.threshold:.4f}' in shown
        assert f'{100 * point.tpr:.2f}%' in shown

    pairs = evaluate_camera_pairs(*arguments)
    table = record['camera_pairs']
    assert table['num_valid_queries'] == pairs.num_valid_queries.tolist()
    for row in range(3):
        for column in range(3):
            if row == column:
                assert table['mAP'][row][column] is None
            else:
                scores = float(pairs.cmc[row, column, 0]), float(pairs.mAP[row, column])
                assert (table['rank1'][row][column], table['mAP'][row][column]) == scores
                assert ' / '.join(f'{100 * score:.1f}' for score in scores) in shown

    ranking = evaluate_ranking(*arguments)
    for name, groups in (('queries', None), ('identities', arguments[2])):
        spreads = bootstrap_scores(ranking, num_samples=50, seed=3, groups=groups)
        assert record['bootstrap'][name]['mAP']['low'] == spreads['mAP'].low
        assert f'± {100 * spreads["mINP"].deviation:.2f}' in shown

    assert record['protocol'].startswith('Market-1501, split test')
    assert record['feature'] == 'all'
    assert 'all 2 features side by side; Market-1501' in shown
    for name in ('verification.png', 'camera_pairs.png'):
        with Image.open(folder / name) as picture:
            assert picture.width > 1000


@pytest.mark.slow
def test_one_feature_into_another_folder(tmp_path, capsys):
    folder, out = save_features(tmp_path / 'features'), tmp_path / 'deep' / 'out'
    options = ['--feature', 'noise', '--out', str(out), '--keep-same-camera', '--samples', '10']
    assert run_command('analyze', [str(folder), *options]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith('feature noise; ')
    assert 'same-camera matches kept' in shown
    record = json.loads((out / 'analysis.json').read_text())
    arguments = arguments_of(folder, 'noise')
    expected = evaluate_verification(*arguments, remove_same_camera=False)
    assert record['verification']['auc'] == expected.auc
    assert record['camera_pairs']['mAP'][0][0] is not None
    assert not (folder / 'analysis.json').exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ('protocol', 'title'), [({'dataset_name': 'Market-1501'}, 'Market-1501'), ({}, 't')]
)
def test_pictures_are_titled_by_the_data_set(protocol, title, tmp_path, monkeypatch):
    folder = save_features(tmp_path / 't', protocol=protocol)
    figures = {}
    monkeypatch.setattr(
        analyze, 'save_picture', lambda figure, path: figures.update({path: figure})
    )
    assert run_command('analyze', [str(folder), '--samples', '10']) == 0
    assert len(figures) == 2
    assert {figure.texts[0].get_text() for figure in figures.values()} == {title}
    figures.clear()
    assert run_command('analyze', [str(folder), '--samples', '10', '--title', 'Mine']) == 0
    assert {figure.texts[0].get_text() for figure in figures.values()} == {'Mine'}


def test_rates_that_few_pairs_cannot_show_are_not_offered(tmp_path, capsys):
    folder = save_features(tmp_path)
    assert run_command('analyze', [str(folder), '--samples', '10']) == 0
    shown = capsys.readouterr().out
    found = json.loads((folder / 'analysis.json').read_text())['verification']
    assert found['num_different'] == 504
    assert [point['target_fpr'] for point in found['operating_points']] == [0.01]
    assert '| 1%' in shown
    assert '| 0.1%' not in shown
    assert '| 0.01%' not in shown
    assert 'warning: few pairs (' in shown
    assert '0.1%, 0.01% wrongly accepted cannot be measured' in shown


def test_everything_accepted_is_no_number_in_json(tmp_path):
    folder = save_features(tmp_path)
    assert run_command('analyze', [str(folder), '--fpr', '1', '--samples', '10']) == 0
    (point,) = json.loads((folder / 'analysis.json').read_text())['verification'][
        'operating_points'
    ]
    assert point == {'target_fpr': 1.0, 'threshold': None, 'fpr': 1.0, 'tpr': 1.0}


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--feature', 'cnn'], "no feature 'cnn'; the set holds good, noise"),
        (['--fpr', '2'], 'a false positive rate must be in [0, 1], got 2.0'),
        (['--samples', '1'], 'at least 2 random choices, got 1'),
        (['--memory-limit', '1000'], 'memory_limit=1000 bytes is too small'),
    ],
)
def test_bad_options_end_in_one_line(options, message, tmp_path, capsys):
    error = refused('analyze', [str(save_features(tmp_path)), *options])
    assert message in error
    assert '\n' not in error
    assert not (tmp_path / 'analysis.json').exists()


def test_one_camera_needs_another_protocol(tmp_path, capsys):
    folder = save_features(tmp_path, num_cameras=1)
    assert 'remove_same_camera=False' in refused('analyze', [str(folder)])
    assert run_command('analyze', [str(folder), '--keep-same-camera', '--samples', '10']) == 0


def test_a_folder_without_features_ends_in_one_line(tmp_path, capsys):
    error = refused('analyze', [str(tmp_path)])
    assert error.startswith('error: no saved features')
    assert '\n' not in error
