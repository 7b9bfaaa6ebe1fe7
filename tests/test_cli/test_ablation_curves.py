"""Scores against L, d, k1 and k2."""

from __future__ import annotations

import re
import statistics
from pathlib import Path

import numpy as np
import pytest
import torch
from ablation_folders import score, write_runs
from tiny_runs import refused

from fusionreid.cli import ablate, ablation_curves
from fusionreid.cli.main import run_command
from fusionreid.evaluation import FeatureSet
from fusionreid.evaluation.functional import evaluate_distances, k_reciprocal_rerank
from fusionreid.visualization import draw_ablation_curves


@pytest.fixture
def figures(monkeypatch) -> list:
    drawn: list = []
    monkeypatch.setattr(ablation_curves, 'save_picture', lambda figure, _: drawn.append(figure))
    return drawn


def curves(*arguments) -> int:
    return run_command('ablation-curves', [*map(str, arguments)])


def lines_of(ax) -> list:
    """x, means and lengths of the error bars of each curve."""
    found = []
    for container in ax.containers:
        line, _, bars = container.lines
        lengths = [np.ptp(segment[:, 1]) / 2 for bar in bars for segment in bar.get_segments()]
        found.append((line.get_xdata().tolist(), line.get_ydata().tolist(), lengths))
    return found


def test_scores_against_the_number_of_htms(tmp_path, figures, capsys):
    variants = ['cnn', 'fusion_l0', 'fusion_l1', 'fusion_l3', 'fusion_l2_unshared']
    folder = write_runs(tmp_path / 'runs', variants, [0, 2], [])
    assert curves('L', folder, '-o', 'L.png') == 0
    (figure,) = figures
    title, protocol = (text.get_text() for text in figure.texts)
    assert title == 'Scores against L, number of HTMs'
    assert protocol == 'Synthetic, 3 epochs; feature all; seeds 0, 2'
    mean_ap, rank1 = figure.axes
    assert [ax.get_title(loc='left') for ax in figure.axes] == ['mAP', 'Rank-1']
    # The one model whose branches have a SEU each has no other L to be joined to.
    ((x, means, lengths),) = lines_of(mean_ap)
    assert x == [0, 1, 2]
    assert [tick.get_text() for tick in mean_ap.get_xticklabels()] == ['0', '1', '3']
    expected = [
        [score(variant, seed, 128) for seed in (0, 2)]
        for variant in ('fusion_l0', 'fusion_l1', 'fusion_l3')
    ]
    assert means == pytest.approx([statistics.fmean(each) for each in expected])
    assert lengths == pytest.approx([statistics.stdev(each) for each in expected])
    assert [line.get_ydata()[0] for line in mean_ap.lines[-1:]] == [1.0]
    assert [text.get_text() for text in figure.legends[0].get_texts()][1:] == ['CNN alone']
    shown = capsys.readouterr().out
    assert re.search(r'\| fusion +\| 3 +\| 2 +\| 52\.3 ± 1\.4 \| 90\.0 ± 0\.0 \|', shown), shown


def test_scores_against_the_width_from_several_folders(tmp_path, figures):
    folders = [
        write_runs(tmp_path / f'd{width}', ['fusion_l2'], [0], [f'model.neck.embed_dims={width}'])
        for width in (64, 256)
    ]
    assert curves('d', *folders, '-o', 'd.png', '--feature', 'cnn_fused', '--title', 'Width') == 0
    assert figures[0].texts[0].get_text() == 'Width'
    ((x, means, lengths),) = lines_of(figures[0].axes[0])
    assert x == [0, 1]
    assert means == [score('fusion_l2', 0, width) + 1 for width in (64, 256)]
    # One seed has no deviation.
    assert lengths == []


def test_models_that_differ_otherwise_have_a_curve_of_their_own(tmp_path, figures):
    variants = ['fusion_l1', 'fusion_l2']
    folders = [
        write_runs(tmp_path / f'heads{heads}', variants, [0], [f'model.neck.num_heads={heads}'])
        for heads in (2, 4)
    ]
    assert curves('L', *folders, '-o', 'L.png') == 0
    assert [text.get_text() for text in figures[0].legends[0].get_texts()] == [
        'num_heads 2',
        'num_heads 4',
    ]


def test_folders_that_do_not_fit_end_in_one_line(tmp_path):
    folder = write_runs(tmp_path / 'runs', ['fusion_l1', 'fusion_l2'], [0], [])
    assert 'holds no results of fusionreid ablate' in refused(
        'ablation-curves', ['L', str(tmp_path / 'none'), '-o', 'a.png']
    )
    assert 'no two values of d' in refused('ablation-curves', ['d', str(folder), '-o', 'a.png'])
    assert "has no feature 'x'; it has cnn_fused, all" in refused(
        'ablation-curves', ['L', str(folder), '-o', 'a.png', '--feature', 'x']
    )
    file = ablate.result_file(folder, 'fusion_l1', 0)
    for text in ('', '[]', '{"seed": 0}', '{"seed": 0, "scores": {"all": {"mAP": "a"}}}'):
        file.write_text(text)
        error = refused('ablation-curves', ['L', str(folder), '-o', 'a.png'])
        assert f'{file} is no result of fusionreid ablate' in error
        assert '\n' not in error


# ---- re-ranking


def save_features(folder: Path, seed: int) -> Path:
    random = torch.Generator().manual_seed(seed)
    people = torch.arange(8).repeat(6)
    looks = torch.randn(8, 6, generator=random)[people]
    FeatureSet(
        features=looks + torch.randn(48, 6, generator=random),
        widths={'cnn': 4, 'transformer': 2},
        person_ids=people,
        camera_ids=torch.arange(3).repeat_interleave(8).repeat(2),
        roles=['query'] * 24 + ['gallery'] * 24,
        img_paths=[f'{row}.jpg' for row in range(48)],
        protocol={'dataset_name': 'Yard'},
    ).save(folder)
    return folder


def reranked_map(folder: Path, k1: int, k2: int) -> float:
    feature_set = FeatureSet.load(folder)
    query, gallery = feature_set.query_and_gallery()
    people, cameras = feature_set.person_ids, feature_set.camera_ids
    distances = k_reciprocal_rerank(
        feature_set.unit_rows('cnn', query),
        feature_set.unit_rows('cnn', gallery),
        k1=k1,
        k2=k2,
        lambda_value=0.5,
    )
    labels = (people[query], people[gallery], cameras[query], cameras[gallery])
    return 100 * evaluate_distances([distances], *labels).mAP


@pytest.mark.parametrize(('against', 'other'), [('k1', 'k2'), ('k2', 'k1')])
def test_scores_against_the_parameters_of_reranking(tmp_path, figures, capsys, against, other):
    folders = [save_features(tmp_path / f'seed{seed}', seed) for seed in (0, 1)]
    grid = {'k1': [3, 8], 'k2': [1, 2, 4]}
    options = ['--feature', 'cnn', '--lambda-value', 0.5, '-o', 'a.png']
    for name, values in grid.items():
        options += [f'--{name}', *values]
    assert curves(against, *folders, *options) == 0
    (figure,) = figures
    found = lines_of(figure.axes[0])
    for value, (_, means, lengths) in zip(grid[other], found, strict=True):
        for position, own in enumerate(grid[against]):
            pair = {against: own, other: value}
            expected = [reranked_map(folder, **pair) for folder in folders]
            assert means[position] == pytest.approx(statistics.fmean(expected))
            assert lengths[position] == pytest.approx(statistics.stdev(expected))
    names = [f'{other} = {value}' for value in grid[other]]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [*names, 'no re-ranking']
    assert 'Yard; feature cnn; lambda 0.5; 2 sets of features' in capsys.readouterr().out


def test_progress_is_shown(tmp_path, figures, capsys):
    folder = save_features(tmp_path / 'features', 0)
    assert curves('k1', folder, '-o', 'a.png', '--k1', 3, 5, '--k2', 1) == 0
    assert capsys.readouterr().err == 're-rankings: 2/2 (100%), 00:00 left\n'


def test_numbers_out_of_their_range_are_refused_before_the_work(tmp_path, monkeypatch, capsys):
    folder = save_features(tmp_path / 'features', 0)
    monkeypatch.setattr(ablation_curves, 'reranked_blocks', None)
    for options, message in (
        (['--k1', '5', '48'], 'k1=48 is not a whole number in 1..47'),
        (['--lambda-value', '2'], 'lambda_value=2.0 is outside 0..1'),
        (['--feature', 'x'], "no feature 'x'"),
    ):
        assert message in refused('ablation-curves', ['k1', str(folder), '-o', 'a.png', *options])
    for options in (
        ['--k1', *map(str, range(1, 18))],
        ['--k1', *map(str, range(1, 30)), '--k2', *map(str, range(1, 5))],
    ):
        with pytest.raises(SystemExit) as stop:
            curves('k2', folder, '-o', 'a.png', *options)
        assert stop.value.code == 2
    assert 'at most' in capsys.readouterr().err


def test_the_legend_stays_clear_of_panels_and_title():
    one = {1.0: {'mAP': [50.0, 60.0]}, 2.0: {'mAP': [70.0]}}
    for number in (1, 7):
        drawn = {f'a long name of curve {place}': one for place in range(number)}
        figure = draw_ablation_curves(drawn, 'L', 'Title', 'protocol', {'alone': {'mAP': [40.0]}})
        figure.canvas.draw()
        box = figure.legends[0].get_window_extent()
        assert box.y0 > max(ax.get_tightbbox().y1 for ax in figure.axes)
        assert box.y1 < min(text.get_window_extent().y0 for text in figure.texts)
        assert box.x1 <= figure.canvas.get_width_height()[0]
    with pytest.raises(ValueError, match='can be told apart, got 0'):
        draw_ablation_curves({}, 'L', 'Title')
